// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

TEST(tmp_is_a_fresh_folder)
{
	struct stat st;
	CHECK_INT(stat(test_tmp(), &st), 0);
	CHECK(S_ISDIR(st.st_mode));
	CHECK_STR(test_tmp(), test_tmp_path);
}

TEST(source_is_in_the_checkout)
{
	CHECK_INT(access(test_source("meson.build"), R_OK), 0);
}
