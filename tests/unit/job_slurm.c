// SPDX-License-Identifier: Apache-2.0
// What Slurm's commands are given, and what they answer; the answers are those of 22.05, and such as none would give.
#include <fcntl.h>

#include "base/fs.h"
#include "base/proc.h"
#include "job/slurm.h"
#include "lib/test.h"

static struct err e;

TEST(number_of_a_submitted_job)
{
	struct str id;
	CHECK(slurm_parse_submitted(STR("17\n"), &id) && str_eq_c(id, "17"));
	CHECK(slurm_parse_submitted(STR("17;cluster\n"), &id) && str_eq_c(id, "17"));
	static const char *const bad[] = {
		"", "\n", "x\n", "-1\n", "17 18\n", "17\n18\n", "1x\n", "99999999999999999999\n", ";c\n"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (slurm_parse_submitted(str_c(bad[i]), &id))
			test_fail(__FILE__, __LINE__, "taken: %s", bad[i]);
}

static struct job_info apply(const char *row, struct arena *a)
{
	struct str s = str_c(row);
	struct slurm_row r;
	struct job_info j = {.state = JOB_QUEUED, .why = STR(""), .worker = STR(""), .host = STR("")};
	CHECK_MSG(slurm_take_row(&s, &r), "no row: %s", row);
	slurm_apply(&r, &j, a);
	return j;
}

TEST(states_of_squeue)
{
	auto_arena a = ARENA_INIT;
	struct job_info j = apply("3 |PENDING |0 |0 |N/A |N/A |n/a | |JobHeldUser |\n", &a);
	CHECK(j.state == JOB_WAITING && j.wait == JOB_WAIT_PAUSED && j.worker.n == 0 && j.started_ms == 0);
	j = apply("3 |PENDING |0 |0 |N/A |N/A |n/a | |Priority |\n", &a);
	CHECK(j.state == JOB_QUEUED && j.wait == JOB_WAIT_NONE);
	j = apply("3 |PENDING |0 |0 |N/A |N/A |n/a | |Nodes required for job are DOWN, DRAINED or reserved |\n", &a);
	CHECK(j.state == JOB_WAITING && j.wait == JOB_WAIT_NO_WORKER);
	j = apply("4 |PENDING |0 |0 |1826846270 |NONE |n/a |node1 |Resources |\n", &a);
	CHECK(j.state == JOB_WAITING && j.wait == JOB_WAIT_BUSY && str_eq_c(j.near, "node1"));
	j = apply("1 |RUNNING |0 |0 |1795307755 |1826843755 |node1 | |None |\n", &a);
	CHECK(j.state == JOB_RUNNING && j.started_ms == 1795307755000 && j.ended_ms == 0 &&
	      str_eq_c(j.worker, "node1"));
	j = apply("1 |COMPLETED |0 |0 |1795307755 |1795307758 |node1 | |None |\n", &a);
	CHECK(j.state == JOB_PASSED && j.code == 0 && j.ended_ms == 1795307758000);
	j = apply("1 |FAILED |768 |1 |1795307755 |1795307758 |node1 | |NonZeroExitCode |\n", &a);
	CHECK(j.state == JOB_FAILED && j.code == 3 && j.losses == 1 && j.why.n == 0);
	j = apply("1 |FAILED |9 |0 |1795307755 |1795307758 |node1 | |RaisedSignal:9 |\n", &a);
	CHECK(j.state == JOB_FAILED && j.code == -1 && j.signal == 9);
	j = apply("1 |FAILED |19200 |0 |1 |2 |node1 | |NonZeroExitCode |\n", &a);
	CHECK(j.state == JOB_FAILED && str_search(j.why, STR("does not see the log")) > 0);
	CHECK_INT(apply("1 |CANCELLED |9 |0 |1 |2 |node1 | |None |\n", &a).state, JOB_CANCELLED);
	CHECK_INT(apply("1 |COMPLETING |0 |0 |1 |2 |node1 | |None |\n", &a).state, JOB_RUNNING);
	j = apply("1 |NODE_FAIL |0 |0 |1 |2 |node1 | |NodeDown |\n", &a);
	CHECK(j.state == JOB_LOST && str_eq_c(j.why, "the node went away"));
	/* a word of tomorrow changes nothing */
	CHECK_INT(apply("1 |SLEEPING |0 |0 |1 |2 |node1 | |None |\n", &a).state, JOB_QUEUED);
}

TEST(rows_that_are_none)
{
	struct slurm_row r;
	struct str s = STR(
		"\n\nnonsense\n1|RUNNING|x|0|1|2|n||r|\n1|RUNNING|0\n-1|RUNNING|0|0|1|2|n||r|\n\x01|2|3\n1|RUNNING|0|0|1|2|n||r|more|\n"
		"2|RUNNING|0|0|99999999999999999999|-5|$(touch)||x|\n3|RUNNING|0|0|1|2|--all|a b|x|");
	CHECK(slurm_take_row(&s, &r) && str_eq_c(r.id, "2"));
	/* neither a time nor a name */
	CHECK(r.started_ms == 0 && r.ended_ms == 0 && str_eq_c(r.host, "$(touch)"));
	CHECK(slurm_take_row(&s, &r) && str_eq_c(r.id, "3") && r.host.n == 0 && r.wants.n == 0);
	CHECK(!slurm_take_row(&s, &r));
}

TEST(accounts_and_completions)
{
	auto_arena a = ARENA_INIT;
	struct slurm_row r;
	struct job_info j = {0};
	struct str s = STR(
		"5|CANCELLED by 0|0:15|node1|1795307755|1795307758\n5.batch|x|1:0|a|1|2\n6|FAILED|3:0|node2|1795307755|Unknown\n"
		"7|FAILED|999:0|node2|1|1\n8|FAILED|1|node2|1|1\n");
	CHECK(slurm_take_account(&s, &r) && str_eq_c(r.id, "5") && str_eq_c(r.state, "CANCELLED"));
	CHECK(slurm_take_account(&s, &r) && str_eq_c(r.id, "6"));
	slurm_apply(&r, &j, &a);
	CHECK(j.state == JOB_FAILED && j.code == 3 && str_eq_c(j.worker, "node2") && j.ended_ms == 0);
	CHECK(!slurm_take_account(&s, &r));
	s = STR("2|0|slipway-1|builds|1|node1|COMPLETED|1795307758\n3|0|na|me|builds|1|node1|FAILED|1\n4|0|n|p|1|node1|FAILED|2026\n");
	CHECK(slurm_take_completion(&s, &r) && str_eq_c(r.id, "2") && str_eq_c(r.host, "node1") && r.status == 0);
	/* a name with a bar in it: not ours */
	CHECK(slurm_take_completion(&s, &r) && str_eq_c(r.id, "3") && str_eq_c(r.state, "node1"));
	CHECK(slurm_take_completion(&s, &r) && str_eq_c(r.id, "4") && r.status == 256);
}

TEST(nodes)
{
	static const struct {
		const char *line;
		enum job_worker_state state;
	} v[] = {
		{"n|idle|0/2/0/2|1795307758|on_n,x", JOB_WORKER_READY},
		{"n|mixed|1/1/0/2|Unknown|", JOB_WORKER_READY},
		{"n|idle*|0/2/0/2|Unknown|", JOB_WORKER_STUCK},
		{"n|draining@|1/0/1/2|Unknown|", JOB_WORKER_DRAINING},
		{"n|drained|0/0/2/2|Unknown|", JOB_WORKER_PAUSED},
		{"n|down*|0/0/2/2|Unknown|", JOB_WORKER_GONE},
		{"n|powered_down|0/0/2/2|Unknown|", JOB_WORKER_GONE},
		{"n|planned-|0/2/0/2|Unknown|", JOB_WORKER_READY},
	};
	struct slurm_node n;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct str s = str_c(v[i].line);
		CHECK_MSG(slurm_take_node(&s, &n), "%s", v[i].line);
		CHECK_MSG(n.state == v[i].state, "%s: %d", v[i].line, (int)n.state);
		CHECK_INT((intmax_t)n.cpus, 2);
	}
	struct str s = STR(
		"|idle|0/2/0/2|x|\nn|idle|0/2/0|x|\nn|idle|0/2/0/2/2|x|\nn|idle|0/2/0/99999999999|x|\nn m|idle|0/2/0/2|x|\nn\n");
	CHECK(!slurm_take_node(&s, &n));
}

TEST(what_the_script_leaves)
{
	int code;
	bool late;
	CHECK(slurm_parse_end(STR("0 12\n"), &code, &late) && code == 0 && !late);
	CHECK(slurm_parse_end(STR("124 12 late\n"), &code, &late) && code == 124 && late);
	static const char *const bad[] = {"", "0\n", "256 1\n", "x 1\n", "-1 1\n", "0 1 never\n", "0 x\n"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_MSG(!slurm_parse_end(str_c(bad[i]), &code, &late), "%s", bad[i]);
}

/* Runs the script as a node would; gives its exit status. */
static int run_script(struct arena *a, const char *const *argv, const char *const *envp, int64_t time_ms,
		      const char *const *node)
{
	const char *dir = arena_printf(a, "%s/it's a \"folder\" %%j $(x)", test_tmp());
	CHECK(mkdir(dir, 0755) == 0 || errno == EEXIST);
	struct job_pool_config pool = {.name = STR("p'ool")};
	struct job_info job = {.id = 7};
	struct job_command cmd = {.argv = argv,
				  .envp = envp,
				  .dir = dir,
				  .log = arena_printf(a, "%s/log %%j", dir),
				  .key = "k",
				  .claim = arena_printf(a, "%s/claim", dir),
				  .time_ms = time_ms,
				  .grace_ms = 1000};
	auto_buf b = BUF_INIT(1 << 20);
	slurm_script(&pool, &job, &cmd, &b);
	struct proc_opts o = {.argv = (const char *const[]){"sh", "-s", NULL}, .envp = node, .input = buf_str(&b)};
	return proc_run(&o, &e);
}

static const char *const node_env[] = {"PATH=/usr/bin:/bin", "SLURMD_NODENAME=node9", "SLURM_JOB_ID=12", "SECRET=1",
				       NULL};

static char *read_text(struct arena *a, const char *name)
{
	auto_buf b = BUF_INIT(1 << 16);
	CHECK_INT(fs_read(AT_FDCWD, arena_printf(a, "%s/it's a \"folder\" %%j $(x)/%s", test_tmp(), name), &b, &e), 0);
	return arena_strdup(a, buf_str(&b));
}

TEST(script_runs_the_command_and_no_word_is_lost)
{
	auto_arena a = ARENA_INIT;
	const char *argv[] = {"sh",
			      "-c",
			      "echo \"$0|$1|$2\"; env | sort | grep -v '^_\\|^PWD\\|^SHLVL\\|^OLDPWD'; pwd; exit 5",
			      "it's \\ $(x) `y`",
			      "two\nlines",
			      "",
			      NULL};
	const char *envp[] = {"PATH=/usr/bin:/bin", "Q='\"$x", NULL};
	CHECK_INT(run_script(&a, argv, envp, 0, node_env), 5);
	char *log = read_text(&a, "log %j");
	CHECK(strstr(
		log,
		": Got resource from pool p'ool\nBuilding on node9\nit's \\ $(x) `y`|two\nlines|\nPATH=/usr/bin:/bin\nQ='\"$x\n"));
	CHECK(strstr(log, "/it's a \"folder\" %j $(x)\n") && log[4] == '-' && log[16] == '.');
	CHECK(!strstr(log, "SECRET") && !strstr(log, "SLURM"));
	CHECK_INT(strncmp(read_text(&a, "log %j.end"), "5 ", 2), 0);
	const char *const dash[] = {"-x=1", "PATH=/usr/bin:/bin", NULL};
	CHECK_INT(run_script(&a, argv, dash, 0, node_env), 5);
	const char *odd[] = {"a=b", NULL};
	CHECK_INT(run_script(&a, odd, envp, 0, node_env), 127);
}

TEST(script_keeps_the_time_limit)
{
	auto_arena a = ARENA_INIT;
	const char *argv[] = {"sleep", "30", NULL}, *envp[] = {"PATH=/usr/bin:/bin", NULL};
	CHECK_INT(run_script(&a, argv, envp, 900, node_env), 124);
	int code;
	bool late;
	CHECK(slurm_parse_end(str_c(read_text(&a, "log %j.end")), &code, &late) && code == 124 && late);
}

TEST(script_runs_at_most_twice)
{
	auto_arena a = ARENA_INIT;
	const char *argv[] = {"echo", "ran", NULL}, *envp[] = {"PATH=/usr/bin:/bin", NULL};
	const char *again[] = {"PATH=/usr/bin:/bin", "SLURM_JOB_ID=12", "SLURM_RESTART_COUNT=2", NULL};
	CHECK_INT(run_script(&a, argv, envp, 0, again), SLURM_TWICE);
	char *log = read_text(&a, "log %j");
	CHECK(strstr(log, "Lost two workers") && !strstr(log, "\nran\n"));
}

TEST(script_runs_as_one_job_alone)
{
	auto_arena a = ARENA_INIT;
	const char *argv[] = {"echo", "ran", NULL}, *envp[] = {"PATH=/usr/bin:/bin", NULL};
	const char *other[] = {"PATH=/usr/bin:/bin", "SLURM_JOB_ID=13", NULL};
	CHECK_INT(run_script(&a, argv, envp, 0, node_env), 0);
	char *log = read_text(&a, "log %j");
	CHECK_INT(run_script(&a, argv, envp, 0, other), SLURM_NOT_IT);
	CHECK_STR(read_text(&a, "log %j"), log);	       /* nor does it say anything */
	CHECK_INT(run_script(&a, argv, envp, 0, node_env), 0); /* Slurm queued it once more */
}
