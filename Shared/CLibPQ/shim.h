// The reference client of PostgreSQL; nothing but PostgresClient imports it.
#include <libpq-fe.h>
