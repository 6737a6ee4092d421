// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * files (private to env): the readers behind env_file_read, one a format, and what they share.
 */
#include "base/map.h"
#include "base/vec.h"
#include "env/env.h"

/* Lists that grow while a file is read; env_file_read hands them over to the arena. */
struct file_builder {
	struct arena *arena;
	const char *where;
	struct env_spec_file *file;
	VEC(struct str) channels, specs, notes;
	VEC(struct env_variable) variables;
	VEC(struct env_component) components;
	uint64_t version; /* of the format, .spr */
	VEC(struct env_lock_package) packages;
	struct map variable_names, package_names; /* → index + 1 */
};
int file_add_variable(struct file_builder *b, struct str name, struct str value, unsigned line, struct err *e);
/* Either its text or a path. */
int file_add_component(struct file_builder *b, struct str name, struct str text, struct str path, unsigned line,
		       struct err *e);
/* "nodefaults" is a word of conda's, not a channel. */
void file_add_channel(struct file_builder *b, struct str channel);
/* A lock has each name once, whichever way it is written. */
int file_add_package(struct file_builder *b, const struct env_lock_package *p, unsigned line, struct err *e);
int file_check_version(struct file_builder *b, struct str version, unsigned line, struct err *e);

bool file_is_spr(struct str text);
bool file_is_yml(struct str text, const char *where);
int file_read_spr(struct file_builder *b, struct str text, struct err *e);
int file_read_yml(struct file_builder *b, struct str text, struct err *e);
int file_read_lines(struct file_builder *b, struct str text, struct err *e); /* specs, or @EXPLICIT (CEP 23) */
