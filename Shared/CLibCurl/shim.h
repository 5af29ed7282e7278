// Outgoing HTTP; nothing but HTTPClient imports it. Typed wrappers stand in for the variadic calls,
// which Swift does not import.
#ifndef SWITCHBOARD_CLIBCURL_SHIM_H
#define SWITCHBOARD_CLIBCURL_SHIM_H

// The checks of curl's own macros need constant options; the wrappers below are typed instead.
#define CURL_DISABLE_TYPECHECK
#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static inline CURLcode switchboard_curl_set_long(CURL *easy, CURLoption option, long value) {
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode switchboard_curl_set_size(CURL *easy, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode switchboard_curl_set_string(CURL *easy, CURLoption option,
                                                   const char *value) {
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode switchboard_curl_set_pointer(CURL *easy, CURLoption option, void *value) {
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode switchboard_curl_set_bytes(CURL *easy, CURLoption option,
                                                  const void *value) {
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode switchboard_curl_set_list(CURL *easy, CURLoption option,
                                                 struct curl_slist *value) {
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode switchboard_curl_set_sink(CURL *easy, CURLoption option,
                                                 curl_write_callback value) {
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode switchboard_curl_on_open(CURL *easy, curl_opensocket_callback value) {
    return curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, value);
}

static inline CURLcode switchboard_curl_on_close(CURL *easy, curl_closesocket_callback value) {
    return curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, value);
}

static inline CURLcode switchboard_curl_on_prerequest(CURL *easy, curl_prereq_callback value) {
    return curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, value);
}

static inline long switchboard_curl_get_long(CURL *easy, CURLINFO info) {
    long value = 0;
    curl_easy_getinfo(easy, info, &value);
    return value;
}

static inline void *switchboard_curl_get_private(CURL *easy) {
    void *value = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &value);
    return value;
}

static inline CURLMcode switchboard_curl_multi_set_long(CURLM *multi, CURLMoption option,
                                                        long value) {
    return curl_multi_setopt(multi, option, value);
}

static inline CURLMcode switchboard_curl_multi_set_pointer(CURLM *multi, CURLMoption option,
                                                           void *value) {
    return curl_multi_setopt(multi, option, value);
}

static inline CURLMcode switchboard_curl_multi_on_socket(CURLM *multi,
                                                         curl_socket_callback value) {
    return curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, value);
}

static inline CURLMcode switchboard_curl_multi_on_timer(CURLM *multi,
                                                        curl_multi_timer_callback value) {
    return curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, value);
}

// The result is a member of a union.
static inline CURLcode switchboard_curl_result(const CURLMsg *message) {
    return message->data.result;
}

// Copies the address's 4 or 16 bytes and returns their number; 0 for another family.
static inline int switchboard_curl_address(const struct curl_sockaddr *from, unsigned char *into) {
    // `addr` is declared smaller than what curl stores behind it.
    const void *address = &from->addr;
    if (from->family == AF_INET) {
        memcpy(into, &((const struct sockaddr_in *)address)->sin_addr, 4);
        return 4;
    }
    if (from->family == AF_INET6) {
        memcpy(into, &((const struct sockaddr_in6 *)address)->sin6_addr, 16);
        return 16;
    }
    return 0;
}

// Curl makes the socket non-blocking itself.
static inline curl_socket_t switchboard_curl_open(const struct curl_sockaddr *address) {
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

#endif
