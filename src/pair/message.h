// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * message (private to pair): what goes over the link as JSON (doc/formats/pair.md, "Over the link"). Whoever reads one holds it for
 * hostile: names, words, numbers and lengths are what they may be, or it is ERR_INPUT or ERR_LIMIT. message_put_x writes the members
 * of an object that message_read_x reads.
 */
#include "base/digest.h"
#include "base/wire.h"
#include "pair/member.h"

enum {
	MESSAGE_ID_HEX = 32,
	MESSAGE_TEXT_MAX = 16384, /* of one text for people; longer ones are cut by who writes */
	MESSAGE_CHECKS_MAX = 256,
	MESSAGE_RECIPE_MAX = 64 << 20,
	MESSAGE_DIGESTS_MAX = WIRE_BYTES_MAX / SHA256_SIZE, /* that are asked for at once */
	MESSAGE_CHUNK = 256 << 10,			    /* of an archive, in one message */
	MESSAGE_WINDOW = 16,				    /* such messages without an answer */
};
#define MESSAGE_TIMER_MAX_MS ((int64_t)30 * 24 * 3600 * 1000)
#define MESSAGE_WAIT_MAX_MS ((int64_t)24 * 3600 * 1000)

void message_put_request(struct jw *w, const struct upgrade_request *q);
int message_read_request(const struct json *j, struct arena *a, struct upgrade_request *ret, struct err *e);

void message_put_status(struct jw *w, const struct pair_member_status *s);
int message_read_status(const struct json *j, struct pair_member_status *ret, struct err *e);

void message_put_role(struct jw *w, const struct pair_role *r);
int message_read_role(const struct json *j, struct pair_role *ret, struct err *e);

/* Who asks, and by which command, for histories: "root (member 2)" there; what is too long is cut. Left out: *ret is not changed. */
void message_put_person(struct jw *w, const char *who, const char *command);
int message_read_person(const struct json *j, struct arena *a, uint32_t member, const char **ret_who,
			const char **ret_command, struct err *e);
/* A stage of an operation, for the log. */
void message_put_log(struct jw *w, const struct env_operation_step *s);
int message_read_log(const struct json *j, struct env_operation_step *ret, struct err *e);
void message_put_checks(struct jw *w, const struct upgrade_check *v, size_t n);
int message_read_checks(const struct json *j, struct arena *a, struct upgrade_check **ret, size_t *ret_n,
			struct err *e);

void message_put_step(struct jw *w, const struct traffic_step *s);
int message_read_step(const struct json *j, struct traffic_step *ret, struct err *e);
const char *message_step_word(enum traffic_step_kind k);
int message_read_step_word(struct str word, enum traffic_step_kind *ret, struct err *e);

/* *failure is what ret->failure points at. */
void message_put_event(struct jw *w, const struct upgrade_event *v);
int message_read_failure(const struct json *j, struct err *ret, struct err *e); /* {"error", "code"} */
int message_read_event(const struct json *j, struct upgrade_event *ret, struct err *failure, struct err *e);

void message_put_failure(struct jw *w, const struct err *e);

/* Members that must be there and right. Text may be shown on a terminal. */
int message_get_text(const struct json *j, const char *key, struct str *ret, struct err *e);
int message_get_id(const struct json *j, const char *key, struct str *ret, struct err *e);
int message_get_number(const struct json *j, const char *key, int64_t min, int64_t max, int64_t *ret, struct err *e);
int message_get_object(const struct json *j, const char *key, const struct json **ret, struct err *e);
int message_get_digest(const struct json *j, const char *key, uint8_t ret[SHA256_SIZE], struct err *e);
