/* The least that a proxy can do: takes a client, connects to the server, and moves bytes both ways as they come.
 * One thread, one event queue, one receive and one send for each event.
 *
 *     floor PORT SERVER_PORT     (both on 127.0.0.1)
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DESCRIPTORS = 65536, EVENTS = 128 };

static int other_end[DESCRIPTORS];
static char bytes[65536];

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void watch(int queue, int descriptor) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
    epoll_ctl(queue, EPOLL_CTL_ADD, descriptor, &event);
}

static void join(int queue, int listener, struct sockaddr_in *server) {
    int yes = 1;
    int client = accept(listener, NULL, NULL);
    int upstream = socket(AF_INET, SOCK_STREAM, 0);
    if (client < 0 || upstream < 0 || client >= DESCRIPTORS || upstream >= DESCRIPTORS ||
        connect(upstream, (struct sockaddr *)server, sizeof *server)) {
        close(client);
        close(upstream);
        return;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(upstream, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    other_end[client] = upstream;
    other_end[upstream] = client;
    watch(queue, client);
    watch(queue, upstream);
}

static void move(int from) {
    int to = other_end[from];
    if (to == 0)
        return; /* Closed by an earlier event of the same look. */
    ssize_t received = recv(from, bytes, sizeof bytes, 0);
    ssize_t sent = 0;
    while (received > 0 && sent < received) {
        ssize_t more = send(to, bytes + sent, received - sent, MSG_NOSIGNAL);
        if (more < 0)
            received = -1;
        else
            sent += more;
    }
    if (received <= 0) {
        other_end[from] = other_end[to] = 0;
        close(from);
        close(to);
    }
}

int main(int count, char **arguments) {
    if (count != 3) {
        fprintf(stderr, "usage: floor PORT SERVER_PORT\n");
        return 2;
    }
    struct sockaddr_in own = loopback(atoi(arguments[1])), server = loopback(atoi(arguments[2]));
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0), queue = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&own, sizeof own) || listen(listener, 1024)) {
        perror("floor");
        return 1;
    }
    watch(queue, listener);
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(queue, events, EVENTS, -1);
        int waiting = 0;
        for (int at = 0; at < ready; at++) {
            if (events[at].data.fd == listener)
                waiting = 1;
            else
                move(events[at].data.fd);
        }
        /* Last, so that no event of this look meets a descriptor that was closed and given out again. */
        if (waiting)
            join(queue, listener, &server);
    }
}
