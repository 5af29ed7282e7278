// The parser of Redis' reference client (0.14 and 1.x); nothing but RedisClient imports it.
#ifndef SWITCHBOARD_CHIREDIS_SHIM_H
#define SWITCHBOARD_CHIREDIS_SHIM_H

#include <hiredis/hiredis.h>
#include <string.h>

// The one function whose form differs between the versions.
#if HIREDIS_MAJOR >= 1
typedef size_t switchboard_element_count;
#else
typedef int switchboard_element_count;
#endif

typedef void *(*switchboard_create_string)(const redisReadTask *, char *, size_t);
typedef void *(*switchboard_create_array)(const redisReadTask *, switchboard_element_count);
typedef void *(*switchboard_create_integer)(const redisReadTask *, long long);
typedef void *(*switchboard_create_nil)(const redisReadTask *);

// What 1.x has beside these (doubles, truth values) belongs to RESP3, which nobody asks for: such an
// answer stays unmade and is refused as a whole.
static inline void switchboard_set_functions(redisReplyObjectFunctions *functions,
                                             switchboard_create_string create_string,
                                             switchboard_create_array create_array,
                                             switchboard_create_integer create_integer,
                                             switchboard_create_nil create_nil) {
    memset(functions, 0, sizeof *functions);
    functions->createString = create_string;
    functions->createArray = create_array;
    functions->createInteger = create_integer;
    functions->createNil = create_nil;
}

#endif
