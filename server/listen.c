#include "server/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A socket's file that nobody listens on any more, left by an earlier run. */
static bool is_left_over(const struct sockaddr_un *address)
{
    struct stat info;
    if (lstat(address->sun_path, &info) != 0 || !S_ISSOCK(info.st_mode))
        return false;
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool refused = probe >= 0 && connect(probe, (const struct sockaddr *)address, sizeof *address) != 0 && errno == ECONNREFUSED;
    if (probe >= 0)
        close(probe);
    return refused;
}

static int listen_unix(const char *path, listening *to, be_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        be_fail(error, BE_ERROR_ARGUMENT, "listen: unix:%s: the path is too long", path);
        return -1;
    }
    strcpy(address.sun_path, path);
    if (is_left_over(&address))
        unlink(path);
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&address, sizeof address) != 0 ||
        chmod(path, 0666) != 0 || listen(descriptor, SOMAXCONN) != 0) {
        be_fail(error, BE_ERROR_IO, "listen: unix:%s: %s", path, strerror(errno));
        if (descriptor >= 0)
            close(descriptor);
        return -1;
    }
    strcpy(to->socket_path, path);
    snprintf(to->address, sizeof to->address, "unix:%s", path);
    return descriptor;
}

static int listen_port(const config *from, listening *to, be_error *error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_PASSIVE}, *found;
    char port[8];
    int one = 1;
    snprintf(port, sizeof port, "%u", from->listen_port);
    bool any = strcmp(from->listen_host, "*") == 0;
    const char *host = strcmp(from->listen_host, "localhost") == 0 ? "127.0.0.1" : from->listen_host;
    if (getaddrinfo(any ? "0.0.0.0" : host, port, &hints, &found) != 0) {
        be_fail(error, BE_ERROR_ARGUMENT, "listen: '%s' is no address", from->listen_host);
        return -1;
    }
    int descriptor = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool good = descriptor >= 0 && setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
                bind(descriptor, found->ai_addr, found->ai_addrlen) == 0 && listen(descriptor, SOMAXCONN) == 0;
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;
    if (good && getsockname(descriptor, (struct sockaddr *)&bound, &size) == 0) {
        char name[80];
        getnameinfo((struct sockaddr *)&bound, size, name, sizeof name, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
        snprintf(to->address, sizeof to->address, found->ai_family == AF_INET6 ? "http://[%s]:%s" : "http://%s:%s", name, port);
    } else {
        be_fail(error, BE_ERROR_IO, "listen: %s:%s: %s", from->listen_host, port, strerror(errno));
        if (descriptor >= 0)
            close(descriptor);
        descriptor = -1;
    }
    freeaddrinfo(found);
    return descriptor;
}

be_status listen_open(const config *from, listening *out, be_error *error)
{
    listening opened = {0};
    opened.descriptor = from->listen_unix ? listen_unix(from->listen_unix, &opened, error) : listen_port(from, &opened, error);
    if (opened.descriptor < 0)
        return error ? error->status : BE_ERROR_IO;
    *out = opened;
    return BE_OK;
}

void listen_remove(const listening *it)
{
    if (*it->socket_path)
        unlink(it->socket_path);
}
