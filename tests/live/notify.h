/* SPDX-License-Identifier: MIT
 *
 * A child that installs a filter which asks us, its parent, about each of its system calls
 * (SECCOMP_RET_USER_NOTIF): unlike a tracer this leaves ptrace to the engine, and its helper task inherits
 * the filter; threads that are there already do not. Two calls that no system has tell us where the part
 * begins and ends that is meant.
 */
#ifndef TESTS_LIVE_NOTIFY_H
#define TESTS_LIVE_NOTIFY_H

#include "deny.h"

#include <sys/ioctl.h>
#include <sys/socket.h>

enum { MARK_ON = 9998, MARK_OFF = 9999 };

static int install_filter(void)
{
    /* Allowed at once: what hands the listener over, ends a task, or is only the test's own. */
    static const int allowed[] = {
        SYS_sendmsg, SYS_exit, SYS_exit_group, SYS_rt_sigreturn, SYS_fcntl, SYS_dup3,
#ifdef SYS_dup2 /* newer CPUs have only the general ones */
        SYS_dup2,
#endif
    };
    struct sock_filter code[2 * LIVE_COUNT(allowed) + 2];
    unsigned short at = 0;
    code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < LIVE_COUNT(allowed); i++) {
        code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)allowed[i], 0, 1);
        code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    struct sock_fprog program = {at, code};
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
};

static void give_fd(int socket, int fd)
{
    char byte = 0;
    struct iovec part = {&byte, 1};
    union control control;
    memset(&control, 0, sizeof control);
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    CHECK(sendmsg(socket, &message, 0) == 1);
}

static int take_fd(int socket)
{
    char byte;
    int fd = -1;
    struct iovec part = {&byte, 1};
    union control control;
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&message))
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

enum live_asks { LIVE_ASKS, LIVE_NOBODY_LEFT, LIVE_SILENT };

/* Whether somebody asks, and what. Linux 6.1 tells that nobody is left only when a child that has ended was
 * waited for. */
static enum live_asks live_await_question(int listener, pid_t child, int limit_ms, struct seccomp_notif *ret)
{
    enum { PART_MS = 100 };
    bool has_ended = false;
    for (int waited_ms = 0; waited_ms < limit_ms * (int)test_slowdown(); waited_ms += PART_MS) {
        struct pollfd ready = {listener, POLLIN, 0};
        int got = poll(&ready, 1, PART_MS);
        memset(ret, 0, sizeof *ret);
        if (got > 0 && ready.revents & POLLIN) {
            if (!ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, ret))
                return LIVE_ASKS;
            waited_ms = -PART_MS; /* who asked was interrupted or killed meanwhile */
            continue;
        }
        if (has_ended || (got > 0 && ready.revents & (POLLHUP | POLLERR | POLLNVAL)))
            return LIVE_NOBODY_LEFT;
        siginfo_t end = {.si_pid = 0};
        has_ended = waitid(P_PID, (id_t)child, &end, WEXITED | WNOHANG | WNOWAIT) == 0 && end.si_pid == child;
    }
    return LIVE_SILENT;
}

/* Where each task of a process stands; of its children, the helper among them, too. */
static void tell_tasks(pid_t pid)
{
    char command[256];
    snprintf(command, sizeof command,
             "for t in /proc/%d/task/* $(cat /proc/%d/task/*/children | sed 's,[0-9]*,/proc/&,g'); do"
             " echo \"# $t $(cat $t/syscall) $(grep -h -e State -e Tracer $t/status | tr '\\n' ' ')\"; done",
             (int)pid, (int)pid);
    fflush(NULL);
    (void)!system(command);
}

/* ---- A child that asks ---- */

struct live_asking {
    pid_t pid;
    int listener; /* negative: it could not begin to ask */
    int output;   /* what it prints */
    int socket[2];
};

/* True in the child: it prepares what nobody is to be asked about, calls live_ask, does the rest and ends by
 * live_asked. */
static bool live_fork_asking(struct live_asking *child)
{
    child->output = memfd_create("output", MFD_CLOEXEC);
    fflush(NULL);
    CHECK(child->output >= 0 && !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, child->socket));
    child->pid = fork();
    CHECK(child->pid >= 0);
    if (child->pid > 0) {
        close(child->socket[1]);
        child->listener = take_fd(child->socket[0]);
        return false;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(child->output, STDOUT_FILENO);
    close(child->socket[0]);
    return true;
}

static void live_ask(struct live_asking *child)
{
    int listener = install_filter();
    if (listener < 0)
        _exit(LIVE_SKIPPED);
    give_fd(child->socket[1], listener);
    close(listener);
    close(child->socket[1]);
}

__attribute__((noreturn)) static void live_asked(int status)
{
    fflush(NULL);
    _exit(status);
}

/* In the parent: how the child ended, and what it printed. */
static int live_end_asking(const struct live_asking *child, bool hangs, char *ret_text, size_t text_bytes)
{
    int status;
    if (hangs) {
        tell_tasks(child->pid);
        kill(child->pid, SIGKILL);
    }
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        ;
    ssize_t len = pread(child->output, ret_text, text_bytes - 1, 0);
    ret_text[len > 0 ? len : 0] = 0;
    if (child->listener >= 0)
        close(child->listener);
    close(child->socket[0]);
    close(child->output);
    if (child->listener < 0)
        live_skip("this kernel or sandbox has no SECCOMP_RET_USER_NOTIF");
    return status;
}

#endif
