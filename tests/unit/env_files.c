// SPDX-License-Identifier: Apache-2.0
/* The files that say what an environment consists of: .spr, @EXPLICIT, lists of specs, environment.yml. */
#include "lib/test.h"

#include "env/env.h"

static struct arena arena;
static struct err err;

__attribute__((destructor)) static void clear(void)
{
	arena_release(&arena);
}

static struct env_spec_file reads(const char *text, const char *where)
{
	struct env_spec_file f = {0};
	err = ERR_INIT;
	CHECK_MSG(env_file_read(&arena, str_c(text), where, &f, &err) == 0, "%s", err.msg);
	return f;
}

static void fails(const char *text, const char *where, enum err_code code, const char *message)
{
	struct env_spec_file f = {.name = STR("untouched")};
	err = ERR_INIT;
	CHECK(env_file_read(&arena, str_c(text), where, &f, &err) == -1);
	CHECK(str_eq(f.name, STR("untouched")));
	CHECK_MSG(strstr(err.msg, message), "'%s' does not say '%s'", err.msg, message);
	CHECK_INT(err.code, code);
}

static const char *z(struct str s)
{
	return arena_strdup(&arena, s);
}

/* == .spr ========================================================================================================= */
#define SHA "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define MD5 "00112233445566778899aabbccddeeff"
#define PACKAGE(name)                                                                                                  \
	"package {\"name\":\"" name "\",\"version\":\"1.0\",\"build\":\"h1_0\",\"build_number\":0,"                    \
	"\"channel\":\"https://example.org/ch\",\"subdir\":\"linux-64\",\"fn\":\"" name "-1.0-h1_0.conda\","           \
	"\"url\":\"https://example.org/ch/linux-64/" name "-1.0-h1_0.conda\",\"sha256\":\"" SHA "\",\"size\":123,"     \
	"\"depends\":[\"libz >=1\"],\"constrains\":[],\"timestamp\":1700000000000,\"odd\":{\"k\":[1,2.5,null]}}\n"

static const char spr[] = "recipe 1\n"
			  "name tools\n"
			  "subdir linux-64\n"
			  "channel https://example.org/ch\n"
			  "channel ./local folder\n"
			  "spec numpy >=1.20,<2\n"
			  "spec conda-forge::h5py[build=*mpi*]\n"
			  "variable A=\"b \\\"c\\\" \\n \\u0001 ü\"\n"
			  "variable EMPTY=\"\"\n"
			  "lock exact\n" PACKAGE("libz") PACKAGE("numpy") "requested numpy numpy >=1.20,<2\n";

TEST(a_recipe_is_read)
{
	struct env_spec_file f = reads(spr, "x.spr");
	CHECK(f.is_lock);
	CHECK_STR(z(f.name), "tools");
	CHECK_STR(z(f.subdir), "linux-64");
	CHECK_INT(f.channels_n, 2);
	CHECK_STR(z(f.channels[1]), "./local folder");
	CHECK_INT(f.specs_n, 2);
	CHECK_STR(z(f.specs[1]), "conda-forge::h5py[build=*mpi*]");
	CHECK_INT(f.variables_n, 2);
	CHECK_STR(z(f.variables[0].value), "b \"c\" \n \x01 ü");
	CHECK_STR(z(f.variables[1].value), "");
	CHECK_INT(f.packages_n, 2);
	CHECK(!f.packages[0].requested);
	CHECK(f.packages[1].requested);
	CHECK_STR(z(f.packages[1].requested_spec), "numpy >=1.20,<2");
	const struct pkg_record *r = &f.packages[1].record;
	CHECK(r->has_sha256 && r->sha256[1] == 0x11 && r->size == 123 && r->timestamp_ms == 1700000000000);
	CHECK_STR(z(r->depends[0]), "libz >=1");
	CHECK_STR(z(r->extra_json), "\"odd\":{\"k\":[1,2.5,null]}");
}

TEST(a_recipe_is_written_as_it_was_read)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	struct env_spec_file f = reads(spr, "x.spr");
	env_file_write_spr(&f, &b);
	CHECK_STR(b.p, spr);
}

TEST(a_recipe_of_specs_is_not_a_lock)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	const char text[] = "recipe 1\nchannel c\nspec python =3.9\n";
	struct env_spec_file f = reads(text, "x.spr");
	CHECK(!f.is_lock);
	env_file_write_spr(&f, &b);
	CHECK_STR(b.p, text);
}

/* What a channel says of a package beyond what we know: it stays on its line, and takes nothing of the record's place. */
TEST(odd_members_of_a_record_keep_to_themselves)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	struct env_lock_package p = {.record = {.name = STR("x"),
						.version = STR("1"),
						.build = STR("0"),
						.fn = STR("x-1-0.conda"),
						.url = STR("https://h/c/noarch/x-1-0.conda"),
						.license = STR("a\x7f\n"),
						.has_md5 = true}};
	struct env_spec_file f = {.packages = &p, .packages_n = 1, .is_lock = true};
	p.record.extra_json = STR("\"z\" : [1,\r\n\t2],\"n\\u0061me\":\"y\",\"noarch\":5");
	env_file_write_spr(&f, &b);
	f = reads(b.p, "x.spr");
	CHECK_STR(z(f.packages[0].record.name), "x");
	CHECK_STR(z(f.packages[0].record.license), "a\x7f\n");
	CHECK_STR(z(f.packages[0].record.extra_json), "\"z\":[1,2]");
}

TEST(nodefaults_is_no_channel)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	const char text[] = "recipe 1\nchannel c\nchannel nodefaults\n";
	struct env_spec_file f = reads(text, "x.spr");
	CHECK_INT(f.channels_n, 1);
	CHECK(f.nodefaults);
	env_file_write_spr(&f, &b);
	CHECK_STR(b.p, text);
}

TEST(an_empty_lock_stays_a_lock)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	struct env_spec_file f = reads("# made by hand\n\nrecipe 1\r\nlock exact\r\n", "x.spr");
	CHECK(f.is_lock);
	CHECK_INT(f.packages_n, 0);
	env_file_write_spr(&f, &b);
	CHECK_STR(b.p, "recipe 1\nlock exact\n");
}

TEST(a_variable_may_be_bare)
{
	struct env_spec_file f = reads("recipe 1\nvariable A=b c\nvariable E=\n", "x.spr");
	CHECK_STR(z(f.variables[0].value), "b c");
	CHECK_STR(z(f.variables[1].value), "");
}

TEST(a_recipe_has_components)
{
	auto_buf b = BUF_INIT(1 << 16);
	struct env_spec_file f =
		reads("recipe 2\nspec a\ncomponent web=sub/web.yml\ncomponent db=\"services: {}\\n\"\n", "x.spr");
	CHECK_INT(f.components_n, 2);
	CHECK_STR(z(f.components[0].path), "sub/web.yml");
	CHECK_INT(f.components[0].text.n, 0);
	CHECK_STR(z(f.components[1].text), "services: {}\n");
	env_file_write_spr(&f, &b);
	CHECK_STR(b.p, "recipe 2\nspec a\ncomponent web=sub/web.yml\ncomponent db=\"services: {}\\n\"\n");
}

TEST(bad_recipes_name_file_and_line)
{
	fails("recipe 1\ncomponent a=b\n", "x.spr", ERR_INPUT,
	      "x.spr:2: 'component' is of format 2: begin with 'recipe 2'");
	fails("recipe 2\ncomponent a\n", "x.spr", ERR_INPUT, "x.spr:2: 'component' wants");
	fails("recipe 2\ncomponent a=\n", "x.spr", ERR_INPUT, "x.spr:2: 'component' wants");
	fails("recipe 2\ncomponent a=\"\"\n", "x.spr", ERR_INPUT, "x.spr:2: 'component' wants");
	fails("recipe 2\ncomponent ../a=b\n", "x.spr", ERR_INPUT, "x.spr:2: '../a' is no name of a component");
	fails("recipe 2\ncomponent a=b\ncomponent a=c\n", "x.spr", ERR_INPUT, "x.spr:3: component 'a' is there twice");
	fails("recipe 4\n", "x.spr", ERR_UNSUPPORTED, "x.spr:1: recipe format 4 is newer");
	fails("recipe one\n", "x.spr", ERR_INPUT, "x.spr:1: 'recipe' wants");
	fails("recipe 1\n\nspecs numpy\n", "x.spr", ERR_INPUT, "x.spr:3: unknown word 'specs'");
	fails("recipe 1\nspec\n", "x.spr", ERR_INPUT, "x.spr:2: 'spec' lacks its value");
	fails("recipe 1\nvariable 1A=\"b\"\n", "x.spr", ERR_INPUT, "x.spr:2: '1A' is not a variable name");
	fails("recipe 1\nvariable A=1\nvariable A=2\n", "x.spr", ERR_INPUT, "x.spr:3: variable 'A' is there twice");
	fails("recipe 1\n" PACKAGE("x") PACKAGE("x"), "x.spr", ERR_INPUT, "x.spr:3: the package 'x' is there twice");
	fails("recipe 1\nvariable A\n", "x.spr", ERR_INPUT, "x.spr:2: 'variable' wants");
	fails("recipe 1\nvariable A=\"b\n", "x.spr", ERR_INPUT, "x.spr:2: ");
	fails("recipe 1\nvariable A=\"\\u0000\"\n", "x.spr", ERR_INPUT, "x.spr:2: the value of 'A' holds a NUL");
	fails("recipe 1\npackage {\n", "x.spr", ERR_INPUT, "x.spr:2: ");
	fails("recipe 1\npackage {\"name\":\"x\"}\n", "x.spr", ERR_INPUT, "x.spr:2: ");
	fails("recipe 1\npackage {\"name\":\"../x\",\"version\":\"1\",\"build\":\"0\"}\n", "x.spr", ERR_INPUT,
	      "x.spr:2: ");
	fails("recipe 1\npackage {\"name\":\"x\",\"version\":\"1\",\"build\":\"0\"}\n", "x.spr", ERR_INPUT,
	      "x.spr:2: a package without 'url'");
	fails("recipe 1\npackage {\"name\":\"x\",\"version\":\"1\",\"build\":\"0\",\"url\":\"https://h/c/noarch/x-1-0.conda\"}\n",
	      "x.spr", ERR_INPUT, "x.spr:2: a package without a digest");
	fails("recipe 1\nspec a\tb\n", "x.spr", ERR_INPUT, "x.spr:2: a control character");
	fails("recipe 1\nrequested x x\n", "x.spr", ERR_INPUT, "x.spr:2: 'requested' names a package");
}

/* == @EXPLICIT ==================================================================================================== */
TEST(explicit_lists_are_read)
{
	struct env_spec_file f = reads("# platform: linux-64\n"
				       "@EXPLICIT\n"
				       "https://example.org/ch/noarch/a-b-1.0-0.conda#" MD5 "\n"
				       "  https://example.org/label/x/linux-64/c-2-h_1.tar.bz2#sha256:" SHA "\r\n"
				       "https://example.org/ch/linux-64/d-3-0.conda#" SHA "\n"
				       "file:///srv/e-4-0.conda\n",
				       "list.txt");
	CHECK(f.is_lock);
	CHECK_INT(f.packages_n, 4);
	CHECK_STR(z(f.subdir), "linux-64");
	const struct pkg_record *r = &f.packages[0].record;
	CHECK_STR(z(r->name), "a-b");
	CHECK_STR(z(r->version), "1.0");
	CHECK_STR(z(r->channel), "https://example.org/ch");
	CHECK_STR(z(r->subdir), "noarch");
	CHECK(r->has_md5 && !r->has_sha256);
	r = &f.packages[1].record;
	CHECK_STR(z(r->fn), "c-2-h_1.tar.bz2");
	CHECK_STR(z(r->channel), "https://example.org/label/x");
	CHECK(r->has_sha256 && !r->has_md5);
	CHECK(f.packages[2].record.has_sha256);
	r = &f.packages[3].record;
	CHECK_STR(z(r->subdir), "");
	CHECK_STR(z(r->channel), "file:///srv");
	CHECK(f.packages[3].requested);
	CHECK_STR(z(f.packages[3].requested_spec), "e=4=0");
	f = reads("@EXPLICIT\nhttps://example.org/ch/noarch/a-1%212.0-0.conda\n", "list.txt");
	CHECK_STR(z(f.packages[0].record.version), "1!2.0");
	CHECK_STR(z(f.packages[0].record.fn), "a-1!2.0-0.conda");
	CHECK_STR(z(f.packages[0].record.url), "https://example.org/ch/noarch/a-1%212.0-0.conda");
}

TEST(explicit_lists_round_trip)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	const char text[] = "# platform: linux-64\n@EXPLICIT\n"
			    "https://example.org/ch/noarch/a-1.0-0.conda#" MD5 "\n"
			    "https://example.org/ch/linux-64/b-1.0-0.conda#sha256:" SHA "\n";
	struct env_spec_file f = reads(text, "list.txt");
	env_file_write_explicit(&f, &b);
	CHECK_STR(b.p, text);
}

TEST(the_word_counts_wherever_it_stands)
{
	struct env_spec_file f = reads("https://example.org/ch/noarch/a-1.0-0.conda\n@EXPLICIT\n", "list.txt");
	CHECK(f.is_lock);
	CHECK_INT(f.packages_n, 1);
	CHECK_INT(f.specs_n, 0);
}

TEST(explicit_paths_become_urls)
{
	char want[PATH_MAX], here[PATH_MAX];
	CHECK(chdir(test_tmp()) == 0 && getcwd(here, sizeof(here)));
	setenv("HOME", "/home/me", 1);
	setenv("X_DIR", "/opt/x", 1);
	unsetenv("UNSET");
	struct env_spec_file f = reads("@EXPLICIT\n/srv/my 50%/a-1-0.conda\n./b-1-0.conda\nc-1-0.conda\n"
				       "~/d-1-0.conda\n${X_DIR}/linux-64/e-1-0.conda\nfile://$X_DIR/f-1-0.conda\n"
				       "/$UNSET/${UNSET}/${X/g-1-0.conda\n",
				       "list.txt");
	CHECK_STR(z(f.packages[0].record.url), "file:///srv/my%2050%25/a-1-0.conda");
	snprintf(want, sizeof(want), "file://%.4000s/b-1-0.conda", here);
	CHECK_STR(z(f.packages[1].record.url), want);
	snprintf(want, sizeof(want), "file://%.4000s/c-1-0.conda", here);
	CHECK_STR(z(f.packages[2].record.url), want);
	CHECK_STR(z(f.packages[3].record.url), "file:///home/me/d-1-0.conda");
	CHECK_STR(z(f.packages[4].record.url), "file:///opt/x/linux-64/e-1-0.conda");
	CHECK_STR(z(f.packages[4].record.subdir), "linux-64");
	CHECK_STR(z(f.packages[5].record.url), "file:///opt/x/f-1-0.conda");
	CHECK_STR(z(f.packages[6].record.url), "file:///$UNSET/$%7BUNSET%7D/$%7BX/g-1-0.conda");
}

TEST(bad_explicit_lines_are_named)
{
	fails("@EXPLICIT\nnumpy=1\n", "l", ERR_INPUT, "l:2: 'numpy=1' is not a package file");
	fails("@EXPLICIT\n\nhttps://h/c/noarch/x-1-0.zip\n", "l", ERR_INPUT, "l:3: 'x-1-0.zip' is not a package file");
	fails("@EXPLICIT\nhttps://h/c/noarch/x-1-0.conda#12\n", "l", ERR_INPUT, "l:2: '#12' is neither");
	fails("@EXPLICIT\nhttps://h/c/noarch/x-1-0.conda#sha256:12\n", "l", ERR_INPUT, "l:2: '#12' is neither");
	fails("@EXPLICIT\nhttps://h/c/noarch/x-1%2f-0.conda\n", "l", ERR_INPUT, "l:2: ");
	fails("@EXPLICIT\nhttps://h/c/noarch/x-1\1-0.conda\n", "l", ERR_INPUT, "l:2: ");
	fails("@EXPLICIT\nhttps://h/c/noarch/x-1-0.conda\nhttps://h/c/noarch/x-2-0.conda\n", "l", ERR_INPUT,
	      "l:3: the package 'x' is there twice");
	fails("@EXPLICIT\nhttps://h/c/noarch/x y-1-0.conda\n", "l", ERR_INPUT, "l:2: ");
}

TEST(a_plain_list_is_specs)
{
	struct env_spec_file f = reads("# tools\nnumpy >=1.20\n\n python=3.9 \n", "specs.txt");
	CHECK(!f.is_lock);
	CHECK_INT(f.specs_n, 2);
	CHECK_STR(z(f.specs[1]), "python=3.9");
	CHECK_INT(reads("", "specs.txt").specs_n, 0);
}

TEST(a_binary_file_is_refused)
{
	struct env_spec_file f;
	CHECK(env_file_read(&arena,
			    STR("\x7f"
				"ELF\0\1\2"),
			    "x", &f, &err) == -1);
	CHECK_STR(err.msg, "x:1: not a text file of specs");
	fails("recipe 1\nname caf\xe9\n", "x", ERR_INPUT, "x:2: not UTF-8 text");
	CHECK(env_file_read(&arena, STR("numpy\n\1\n"), "x", &f, &err) == -1);
	CHECK(strstr(err.msg, "x: a spec holds a control character"));
}

/* == environment.yml ============================================================================================== */
TEST(environment_files_are_read)
{
	struct env_spec_file f =
		reads("name: sardana\n"
		      "prefix: /opt/conda/envs/sardana\n"
		      "channels:\n  - conda-forge\n  - nodefaults\n"
		      "dependencies:\n  - python =3.9\n  - \"numpy>=1.20,<2\"\n  - 'conda-forge::h5py[build=*mpi*]'\n"
		      "variables:\n  A: 1.10\n  B: \"x: y\"\n",
		      "environment.yml");
	CHECK(!f.is_lock);
	CHECK_STR(z(f.name), "sardana");
	CHECK_INT(f.channels_n, 1);
	CHECK(f.nodefaults);
	CHECK_INT(f.specs_n, 3);
	CHECK_STR(z(f.specs[2]), "conda-forge::h5py[build=*mpi*]");
	CHECK_INT(f.variables_n, 2);
	CHECK_STR(z(f.variables[0].value), "1.10");
	CHECK_INT(f.notes_n, 0);
}

/* As they come from other systems and editors. */
TEST(environment_files_of_others_are_read)
{
	struct env_spec_file f = reads("\xef\xbb\xbf# made by hand\r\n"
				       "name: my-env  # [unix]\r\n"
				       "\r\n"
				       "channels:\r\n"
				       "- defaults\r\n"
				       "- nodefaults\r\n"
				       "- https://example.org/t/<token>/ch\r\n"
				       "dependencies:\r\n"
				       "- python=3.9  # [linux]\r\n"
				       "# - commented=1\r\n"
				       "- conda-forge::h5py>=3\r\n"
				       "- conda-forge/linux-64::numpy 1.26.* *_0\r\n"
				       "- python=3.9\r\n"
				       "variables:\r\n"
				       "  YES: yes\r\n"
				       "  URL: http://x/#a\r\n"
				       "prefix: C:\\envs\\my-env\r\n",
				       "environment.yml");
	CHECK_STR(z(f.name), "my-env");
	CHECK_INT(f.channels_n, 2);
	CHECK_STR(z(f.channels[0]), "defaults");
	CHECK(f.nodefaults);
	CHECK_INT(f.specs_n, 4); /* twice the same is asked for once, by the solver */
	CHECK_STR(z(f.specs[0]), "python=3.9");
	CHECK_STR(z(f.specs[2]), "conda-forge/linux-64::numpy 1.26.* *_0");
	CHECK_STR(z(f.variables[0].value), "yes");
	CHECK_STR(z(f.variables[1].value), "http://x/#a");
	CHECK_INT(f.notes_n, 0);
}

TEST(environment_files_are_known_by_their_content)
{
	CHECK_INT(reads("# mine\n---\ndependencies: [a, b]\n", "standard input").specs_n, 2);
	CHECK_INT(reads("channels: []\ndependencies: [a]\n", "x").specs_n, 1);
	CHECK_INT(reads("dependencies:\n", "x").specs_n, 0);
}

TEST(other_sections_are_passed_over_and_told)
{
	struct env_spec_file f = reads("name: x\nplatforms: [linux-64]\ndependencies: []\ncategory: main\n", "e.yml");
	CHECK_INT(f.notes_n, 2);
	CHECK_STR(z(f.notes[0]), "e.yml:2: section 'platforms' is passed over");
	CHECK_STR(z(f.notes[1]), "e.yml:4: section 'category' is passed over");
}

TEST(pip_sections_are_refused_clearly)
{
	fails("dependencies:\n  - python\n  - pip\n  - pip:\n    - sardana==3.3\n", "e.yml", ERR_UNSUPPORTED,
	      "e.yml:4: a 'pip:' section needs Python wheels");
	fails("dependencies:\n  - npm: [x]\n", "e.yml", ERR_INPUT, "e.yml:2: unknown subsection 'npm'");
}

TEST(bad_environment_files_name_file_and_line)
{
	fails("name: x\n", "e.yml", ERR_INPUT, "e.yml: there is no 'dependencies:'");
	fails("- a\n", "e.yml", ERR_INPUT, "e.yml:1: an environment file is a map");
	fails("dependencies: numpy\n", "e.yml", ERR_INPUT, "e.yml:1: 'dependencies' must be a list");
	fails("channels: x\ndependencies: []\n", "e.yml", ERR_INPUT, "e.yml:1: 'channels' must be a list");
	fails("name: [x]\ndependencies: []\n", "e.yml", ERR_INPUT, "e.yml:1: 'name' must be text");
	fails("dependencies: []\nvariables:\n  a-b: 1\n", "e.yml", ERR_INPUT, "e.yml:3: 'a-b' is not a variable name");
	fails("dependencies: []\nvariables: [a]\n", "e.yml", ERR_INPUT, "e.yml:2: 'variables' must be a map");
	fails("dependencies:\n  - [a]\n", "e.yml", ERR_INPUT, "e.yml:2: 'dependencies' must be text");
	fails("dependencies:\n  - \"a\\nlock exact\"\n", "e.yml", ERR_INPUT, "e.yml: a spec holds a control character");
	fails("channels:\n  - ''\ndependencies: []\n", "e.yml", ERR_INPUT, "e.yml: a channel is empty");
	fails("dependencies:\n\t- a\n", "e.yml", ERR_INPUT, "e.yml:2: a tab, where YAML wants spaces");
	fails("dependencies:\n  - sel(linux): a\n", "e.yml", ERR_INPUT, "e.yml:2: 'sel(linux):' is micromamba's own");
	fails("channels: &c [x]\ndependencies: *c\n", "e.yml", ERR_UNSUPPORTED, "e.yml:1: anchors ('&c')");
	fails("dependencies: [a]\ndependencies: [b]\n", "e.yml", ERR_INPUT,
	      "e.yml:2: key 'dependencies' comes twice, first at line 1");
}

TEST(environment_files_are_written)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	struct env_spec_file f = reads(spr, "x.spr");
	env_file_write_yml(&f, true, &b);
	struct env_spec_file again = reads(b.p, "out.yml");
	CHECK_STR(z(again.name), "tools");
	CHECK_INT(again.channels_n, 2);
	CHECK_INT(again.specs_n, 2);
	CHECK_STR(z(again.specs[1]), "numpy=1.0=h1_0");
	CHECK_STR(z(again.variables[0].value), "b \"c\" \n \x01 ü");
	buf_clear(&b);
	env_file_write_yml(&f, false, &b);
	CHECK_STR(z(reads(b.p, "out.yml").specs[1]), "numpy=1.0");
	buf_clear(&b);
	f.is_lock = false;
	const struct env_variable v = {STR("no"), STR("yes")};
	f.variables = &v;
	f.variables_n = 1;
	f.nodefaults = true;
	env_file_write_yml(&f, false, &b);
	again = reads(b.p, "out.yml");
	CHECK_STR(z(again.specs[0]), "numpy >=1.20,<2");
	CHECK_STR(z(again.variables[0].value), "yes");
	CHECK(again.nodefaults);
	CHECK(strstr(b.p, "'no': 'yes'\n"));
}
