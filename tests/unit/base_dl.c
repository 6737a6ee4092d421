// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include <math.h>
#include <pthread.h>

#include "base/dl.h"

static struct err e;
static int prepared, prepare_result;

static int prepare(struct err *err)
{
	prepared++;
	return prepare_result < 0 ? err_new(err, ERR_FAILED, "not today") : 0;
}

void no_such_function(void);
#define MATHS(X) X(, cos) X(f, abs) X(s, in)
#define LACKS(X) X(, cos) X(no_such_, function)
DL_LIBRARY(maths, "libm.so.6", MATHS, prepare);
DL_LIBRARY(lacks, "libm.so.6", LACKS, NULL);
DL_LIBRARY(none, "libnone-such.so.9", LACKS, NULL);

TEST(functions_are_found)
{
	CHECK(!maths.cos);
	CHECK_MSG(dl_load(&maths_library, &e) == 0, "%s", e.msg);
	CHECK(maths.cos(0) > 0.999 && maths.cos(0) < 1.001);
	CHECK(maths.abs(-2) > 1.999);
	CHECK(maths.in(0) < 0.001);
}

TEST(what_is_missing_is_named)
{
	CHECK_INT(dl_load(&lacks_library, &e), -1);
	CHECK_INT(e.code, ERR_UNSUPPORTED);
	CHECK_MSG(strstr(e.msg, "library 'libm.so.6' lacks 'no_such_function'") != NULL, "%s", e.msg);
	CHECK_INT(dl_load(&none_library, &e), -1);
	CHECK_MSG(strstr(e.msg, "libnone-such.so.9") != NULL, "%s", e.msg);
	CHECK(!lacks_library.loaded && !none_library.loaded);
}

TEST(is_prepared_once_and_again_after_a_failure)
{
	prepare_result = -1;
	CHECK_INT(dl_load(&maths_library, &e), -1);
	CHECK_STR(e.msg, "not today");
	prepare_result = 0;
	CHECK_INT(dl_load(&maths_library, &e), 0);
	CHECK_INT(dl_load(&maths_library, &e), 0);
	CHECK_INT(prepared, 2);
}

static void *load(void *ctx)
{
	struct err mine = ERR_INIT;
	(void)ctx;
	return dl_load(&maths_library, &mine) == 0 && maths.abs(-2) > 1.999 ? &maths : NULL;
}

TEST(threads_share_one_loading)
{
	pthread_t threads[8];
	for (int i = 0; i < 8; i++)
		CHECK_INT(pthread_create(&threads[i], NULL, load, NULL), 0);
	for (int i = 0; i < 8; i++) {
		void *good = NULL;
		CHECK_INT(pthread_join(threads[i], &good), 0);
		CHECK(good);
	}
	CHECK_INT(prepared, 1);
}
