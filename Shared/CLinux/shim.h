// What Glibc's Swift module lacks: epoll, eventfd, signalfd, accept4 and sockets in one place.
#ifndef SWITCHBOARD_CLINUX_SHIM_H
#define SWITCHBOARD_CLINUX_SHIM_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

// accept4 stands behind _GNU_SOURCE; defining that here would make these headers differ from the
// ones that Glibc's module was built of, and the compiler refuses two definitions.
extern int accept4(int, struct sockaddr *, socklen_t *, int);

static inline int switchboard_accept(int listener, struct sockaddr_storage *peer, socklen_t *size) {
    *size = sizeof(*peer);
    return accept4(listener, (struct sockaddr *)peer, size, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

// epoll_data is a union; only its 64-bit face is used (generation << 32 | descriptor).
static inline int switchboard_epoll_control(int poller, int operation, int descriptor,
                                            uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data = {.u64 = data}};
    return epoll_ctl(poller, operation, descriptor, &event);
}

static inline uint64_t switchboard_epoll_data(const struct epoll_event *event) {
    return event->data.u64;
}

// The concurrency runtime's own override point: when set, it decides where a job goes that names no
// executor. See EventLoop+Executor.swift.
extern void *swift_task_enqueueGlobal_hook;

static inline void switchboard_set_enqueue_hook(void *hook) { swift_task_enqueueGlobal_hook = hook; }

#endif
