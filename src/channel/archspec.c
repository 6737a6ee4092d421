// SPDX-License-Identifier: Apache-2.0
/*
 * Which micro-architecture a processor is (CEP 30, __archspec).
 *
 * The names, their vendors and what each needs beyond its parents are those of the archspec-json list. As archspec does: of all
 * that fit (same vendor or generic, every feature there), first the best generic one is chosen, then the best of those that
 * descend from it; so a processor with one feature switched off is still known by its level.
 */
#include <stdint.h>

#include "channel/virtual.h"

enum { PARENTS_MAX = 2, CHAIN_MAX = 24 };

struct target {
	const char *name;
	const char *vendor; /* NULL: generic */
	const char *parent[PARENTS_MAX];
	const char *needs; /* beyond the parents, as /proc/cpuinfo spells it */
};

#define INTEL "GenuineIntel"
#define AMD "AuthenticAMD"

static const struct target x86_64[] = {
	{"x86_64", NULL, {NULL}, ""},
	{"x86_64_v2", NULL, {"x86_64"}, "cx16 lahf_lm mmx popcnt sse sse2 sse4_1 sse4_2 ssse3"},
	{"x86_64_v3", NULL, {"x86_64_v2"}, "abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"},
	{"x86_64_v4", NULL, {"x86_64_v3"}, "avx512bw avx512cd avx512dq avx512f avx512vl"},
	{"nocona", INTEL, {"x86_64"}, "mmx sse sse2 pni"},
	{"core2", INTEL, {"nocona"}, "ssse3"},
	{"nehalem", INTEL, {"core2", "x86_64_v2"}, ""},
	{"westmere", INTEL, {"nehalem"}, "aes pclmulqdq"},
	{"sandybridge", INTEL, {"westmere"}, "avx"},
	{"ivybridge", INTEL, {"sandybridge"}, "f16c rdrand"},
	{"haswell", INTEL, {"ivybridge", "x86_64_v3"}, ""},
	{"broadwell", INTEL, {"haswell"}, "adx rdseed"},
	{"skylake", INTEL, {"broadwell"}, "clflushopt xsavec xsaveopt"},
	{"mic_knl", INTEL, {"broadwell"}, "avx512cd avx512er avx512f avx512pf"},
	{"skylake_avx512", INTEL, {"skylake", "x86_64_v4"}, "clwb"},
	{"cannonlake", INTEL, {"skylake", "x86_64_v4"}, "avx512ifma avx512vbmi sha_ni"},
	{"cascadelake", INTEL, {"skylake_avx512"}, "avx512_vnni"},
	{"icelake",
	 INTEL,
	 {"cascadelake", "cannonlake"},
	 "avx512_bitalg avx512_vbmi2 avx512_vpopcntdq gfni rdpid vaes vpclmulqdq"},
	{"sapphirerapids",
	 INTEL,
	 {"icelake"},
	 "amx_bf16 amx_int8 amx_tile avx512_bf16 cldemote movdir64b movdiri serialize waitpkg"},
	{"alderlake",
	 INTEL,
	 {"skylake"},
	 "avx_vnni clwb gfni movdir64b movdiri rdpid serialize sha_ni vaes vpclmulqdq waitpkg"},
	{"k10", AMD, {"x86_64"}, "3dnow 3dnowext abm cx16 mmx sse sse2 sse4a"},
	{"bulldozer", AMD, {"x86_64_v2"}, "abm aes avx fma4 pclmulqdq sse4a xop xsave"},
	{"piledriver", AMD, {"bulldozer"}, "bmi1 f16c fma tbm"},
	{"steamroller", AMD, {"piledriver"}, "fsgsbase"},
	{"excavator", AMD, {"steamroller", "x86_64_v3"}, ""},
	{"zen", AMD, {"x86_64_v3"}, "aes clflushopt clzero fsgsbase pclmulqdq rdseed sse4a xsavec xsaveopt"},
	{"zen2", AMD, {"zen"}, "clwb"},
	{"zen3", AMD, {"zen2"}, "pku vaes vpclmulqdq"},
	{"zen4",
	 AMD,
	 {"zen3", "x86_64_v4"},
	 "avx512_bf16 avx512_bitalg avx512_vbmi2 avx512_vnni avx512_vpopcntdq avx512ifma avx512vbmi flush_l1d gfni"},
	{"zen5", AMD, {"zen4"}, "avx512_vp2intersect avx_vnni movdir64b movdiri tsc_adjust"},
	{NULL, NULL, {NULL}, NULL},
};

/* The vendor is the "CPU implementer". The generic armv8.xa cannot be told from the features. */
static const struct target aarch64[] = {
	{"aarch64", NULL, {NULL}, ""},
	{"thunderx2", "0x43", {"aarch64"}, "aes asimd asimdrdm atomics cpuid crc32 evtstrm fp pmull sha1 sha2"},
	{"a64fx",
	 "0x46",
	 {"aarch64"},
	 "asimd asimdhp asimdrdm atomics cpuid crc32 dcpop evtstrm fcma fp fphp sha1 sha2 sve"},
	{"cortex_a72", "0x41", {"aarch64"}, "aes asimd cpuid crc32 evtstrm fp pmull sha1 sha2"},
	{"neoverse_n1", "0x41", {"cortex_a72"}, "asimddp asimdhp asimdrdm atomics dcpop fphp lrcpc"},
	{"neoverse_v1",
	 "0x41",
	 {"neoverse_n1"},
	 "asimdfhm bf16 dcpodp dgh dit fcma flagm i8mm ilrcpc jscvt rng sha3 sha512 sve svebf16 svei8mm uscat"},
	{"neoverse_v2",
	 "0x41",
	 {"neoverse_n1"},
	 "asimdfhm bf16 dcpodp fcma flagm flagm2 frint i8mm ilrcpc jscvt sb sha3 sha512 sve sve2 svebf16 svei8mm "
	 "uscat"},
	{NULL, NULL, {NULL}, NULL},
};

static const struct target ppc64le[] = {
	{"ppc64le", NULL, {NULL}, ""},
	{"power8le", "POWER8", {"ppc64le"}, ""},
	{"power9le", "POWER9", {"ppc64le"}, ""},
	{"power10le", "POWER10", {"ppc64le"}, ""},
	{NULL, NULL, {NULL}, NULL},
};

static const struct target riscv64[] = {
	{"riscv64", NULL, {NULL}, ""},
	{NULL, NULL, {NULL}, NULL},
};

/* Families: the second word of a subdir, its targets (the first is the family), and where cpuinfo has vendor and features. */
static const struct family {
	const char *arch, *vendor_key, *features_key;
	const struct target *targets;
} families[] = {
	{"64", "vendor_id", "flags", x86_64},
	{"aarch64", "CPU implementer", "Features", aarch64},
	{"arm64", "CPU implementer", "Features", aarch64},
	{"ppc64le", "cpu", "", ppc64le},
	{"riscv64", "", "", riscv64},
};

static const struct family *find_family(struct str arch)
{
	for (size_t i = 0; i < sizeof(families) / sizeof(*families); i++)
		if (str_eq_c(arch, families[i].arch))
			return &families[i];
	return NULL;
}

struct str archspec_family(struct str arch)
{
	const struct family *f = find_family(arch);
	if (f)
		return str_c(f->targets[0].name);
	if (str_eq_c(arch, "32"))
		return STR("x86");
	return str_eq_c(arch, "ppc64") ? arch : STR_NONE;
}

/* The value of the first line "key : value". */
static struct str cpuinfo_value(struct str text, const char *key)
{
	struct str line, name;
	while (*key && str_take_line(&text, &line))
		if (str_take_until(&line, ':', &name) && str_eq_c(str_trim(name), key))
			return str_trim(line);
	return STR("");
}

static bool has_word(struct str list, struct str word)
{
	struct str w;
	while (str_take_word(&list, &w))
		if (str_eq(w, word))
			return true;
	return false;
}

static bool has_all(struct str list, struct str needed)
{
	struct str w;
	while (str_take_word(&needed, &w))
		/* ssse3 contains sse3, which the kernel calls pni */
		if (!has_word(list, w) && !(str_eq_c(w, "pni") && has_word(list, STR("ssse3"))))
			return false;
	return true;
}

static const struct target *find_target(const struct target *list, const char *name)
{
	for (; list->name; list++)
		if (strcmp(list->name, name) == 0)
			return list;
	return NULL;
}

/* A processor may have no better answer than part of the tree: the table is small, so the walks are plain. */
static bool fits(const struct target *list, const struct target *t, struct str vendor, struct str features, int depth)
{
	if (depth > CHAIN_MAX || !has_all(features, str_c(t->needs)))
		return false;
	if (t->vendor && !(str_starts(vendor, str_c(t->vendor)) &&
			   (vendor.n == strlen(t->vendor) || vendor.p[strlen(t->vendor)] < '0' ||
			    vendor.p[strlen(t->vendor)] > '9')))
		return false;
	for (int i = 0; i < PARENTS_MAX && t->parent[i]; i++)
		if (!fits(list, find_target(list, t->parent[i]), vendor, features, depth + 1))
			return false;
	return true;
}

static bool descends(const struct target *list, const struct target *t, const struct target *from, int depth)
{
	for (int i = 0; depth <= CHAIN_MAX && i < PARENTS_MAX && t->parent[i]; i++) {
		const struct target *p = find_target(list, t->parent[i]);
		if (p == from || descends(list, p, from, depth + 1))
			return true;
	}
	return false;
}

static unsigned ancestors(const struct target *list, const struct target *t)
{
	unsigned n = 0;
	for (const struct target *o = list; o->name; o++)
		n += descends(list, t, o, 0);
	return n;
}

/* The best that fits: generic ones only, or those that descend from `from`. Later in the list wins a tie. */
static const struct target *best(const struct target *list, const struct target *from, struct str vendor,
				 struct str features)
{
	const struct target *ret = NULL;
	for (const struct target *t = list; t->name; t++) {
		if (from ? !descends(list, t, from, 0) : t->vendor != NULL)
			continue;
		if (fits(list, t, vendor, features, 0) && (!ret || ancestors(list, t) >= ancestors(list, ret)))
			ret = t;
	}
	return ret;
}

struct str archspec_detect(struct str cpuinfo, struct str arch)
{
	const struct family *f = find_family(arch);
	if (!f)
		return archspec_family(arch);
	struct str vendor = cpuinfo_value(cpuinfo, f->vendor_key), features = cpuinfo_value(cpuinfo, f->features_key);
	const struct target *generic = best(f->targets, NULL, vendor, features);
	const struct target *exact = best(f->targets, generic, vendor, features);
	return str_c(exact ? exact->name : generic->name);
}
