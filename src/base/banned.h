// SPDX-License-Identifier: Apache-2.0
/*
 * Functions that are not used in this program. The build includes this header
 * before every source file, so a use is a compile error that names the function.
 *
 *   strcpy strcat sprintf   no bound                 → buf_addf, snprintf
 *   strtok                  hidden state             → str_take_until
 *   atoi strtol & co        errors are easy to miss  → str_take_u64
 *   gmtime localtime        static result            → gmtime_r
 *   basename                two meanings             → str views
 *   alloca                  no bound                 → arena
 *
 * The headers that declare them come first, so that their prototypes are not
 * rewritten. A file still includes each system header whose names it uses.
 */
#pragma once

#include <alloca.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define BANNED(function) slipway_does_not_use_##function

#undef strcpy
#define strcpy(...) BANNED(strcpy)()
#undef stpcpy
#define stpcpy(...) BANNED(stpcpy)()
#undef strcat
#define strcat(...) BANNED(strcat)()
#undef strncpy
#define strncpy(...) BANNED(strncpy)()
#undef strncat
#define strncat(...) BANNED(strncat)()
#undef sprintf
#define sprintf(...) BANNED(sprintf)()
#undef vsprintf
#define vsprintf(...) BANNED(vsprintf)()
#undef strtok
#define strtok(...) BANNED(strtok)()
#undef strtok_r
#define strtok_r(...) BANNED(strtok_r)()
#undef atoi
#define atoi(...) BANNED(atoi)()
#undef atol
#define atol(...) BANNED(atol)()
#undef atoll
#define atoll(...) BANNED(atoll)()
#undef strtol
#define strtol(...) BANNED(strtol)()
#undef strtoul
#define strtoul(...) BANNED(strtoul)()
#undef strtoll
#define strtoll(...) BANNED(strtoll)()
#undef strtoull
#define strtoull(...) BANNED(strtoull)()
#undef gmtime
#define gmtime(...) BANNED(gmtime)()
#undef localtime
#define localtime(...) BANNED(localtime)()
#undef ctime
#define ctime(...) BANNED(ctime)()
#undef asctime
#define asctime(...) BANNED(asctime)()
#undef basename
#define basename(...) BANNED(basename)()
#undef alloca
#define alloca(...) BANNED(alloca)()
