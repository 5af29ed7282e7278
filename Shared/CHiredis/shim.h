// The reference client of Redis (0.14 and 1.x); nothing but RedisClient imports it.
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
