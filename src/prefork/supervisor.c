/* SPDX-License-Identifier: BSD-2-Clause */
/* What children there are is compared with what children there should be, again after every
   signal and deadline; nothing else starts or stops one. */
#include "config.h"

#include "prefork/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <talloc.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "prefork/notify.h"
#include "prefork/post.h"

enum {
    FIRST_DELAY_MS = 100,
    MAX_DELAY_MS = 10000,
    /* A child that dies this soon after it was ready has not worked. */
    PROVEN_MS = 1000,
    KILL_AFTER_DRAIN_MS = 1000,
    /* From SIGABRT to SIGKILL: a stopped process does not take the first. */
    KILL_AFTER_ABORT_MS = 1000,
    STATUS_BYTES = 160,
    ROUTE_BYTES = 256,
};

enum child_state { CHILD_STARTING, CHILD_READY, CHILD_DRAINING, CHILD_HUNG };

struct child {
    TAILQ_ENTRY(child) link;
    pid_t pid;
    int index;
    unsigned generation;
    int64_t drain_timeout_ms; /* of the configuration that it has */
    enum child_state state;
    int ready_fd;       /* -1 once it has said so */
    int64_t ready_us;   /* when it did */
    int64_t kill_at_us; /* CHILD_DRAINING, CHILD_HUNG */
    struct pulse *pulse;
    struct pulse_watch watch;
    bool traced; /* a debugger held it at the last look at which it had not turned */
};

/* What is remembered of an index beyond its children. */
struct back_off {
    int64_t start_at_us;
    int64_t delay_ms; /* 0: the last child had worked */
};

struct supervisor {
    const struct supervisor_program *program;
    TAILQ_HEAD(, child) children;
    struct back_off *back_offs; /* by index */
    int n_posts;
    unsigned generation; /* counts reloads */
    bool stopping;
    bool announced;     /* READY=1 was said of this generation */
    bool rejected;      /* the last reload found the configuration wrong */
    bool killed;        /* some child did not stop by itself */
    int64_t look_at_us; /* at the children's pulses */
    int64_t
        watchdog_us; /* how often the service manager is told that we turn; 0: it does not ask */
    int64_t tell_at_us;
    char status[STATUS_BYTES];
    int signal_fd;
    int parent_pipe[2]; /* nobody writes: its end is what children wait for */
    sigset_t old_mask;
};

void child_ready(struct child_link *link)
{
    if (link->ready_fd == -1)
        return;
    /* if the parent has died, nobody needs to know */
    ssize_t ignored = write(link->ready_fd, "", 1);
    (void)ignored;
    close(link->ready_fd);
    link->ready_fd = -1;
}

/* Whether somebody does the work of an index, by the old configuration or the new one. */
static bool is_manned(const struct supervisor *supervisor, int index)
{
    const struct child *child;

    TAILQ_FOREACH (child, &supervisor->children, link)
        if (child->index == index && child->state == CHILD_READY)
            return true;
    return false;
}

/* In the child: what was the parent's is put away. */
static void become_child(struct supervisor *supervisor, const struct child *child, int ready_fd)
{
    struct child_link link = {
        .index = child->index,
        .count = supervisor->program->count(supervisor->program->data),
        .parent_fd = supervisor->parent_pipe[0],
        .ready_fd = ready_fd,
        .pulse = child->pulse,
        .replaces = is_manned(supervisor, child->index),
    };
    const struct child *other;

    TAILQ_FOREACH (other, &supervisor->children, link)
        if (other->ready_fd != -1)
            close(other->ready_fd);
    close(supervisor->parent_pipe[1]);
    close(supervisor->signal_fd);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_SETMASK, &supervisor->old_mask, NULL);
    log_forget();
    exit(supervisor->program->child(supervisor->program->data, &link));
}

static void log_failure(const char *message)
{
    log_event(LOG_LEVEL_ERROR, message, log_text("error", strerror(errno)));
}

/* A failure to fork is treated like a child that died at once. */
static void postpone(struct back_off *back_off)
{
    back_off->delay_ms = back_off->delay_ms == 0 ? FIRST_DELAY_MS : 2 * back_off->delay_ms;
    if (back_off->delay_ms > MAX_DELAY_MS)
        back_off->delay_ms = MAX_DELAY_MS;
    back_off->start_at_us = clock_monotonic_us() + back_off->delay_ms * 1000;
}

static void start_child(struct supervisor *supervisor, int index)
{
    struct child *child = mem_check(talloc_zero(supervisor, struct child));
    int ready[2];

    child->pulse = pulse_new(child);
    if (child->pulse == NULL || pipe2(ready, O_CLOEXEC) == -1) {
        log_failure("cannot make what a child speaks through");
        postpone(&supervisor->back_offs[index]);
        talloc_free(child);
        return;
    }
    child->index = index;
    child->generation = supervisor->generation;
    child->drain_timeout_ms = supervisor->program->drain_timeout_ms(supervisor->program->data);
    child->ready_fd = ready[0];
    TAILQ_INSERT_TAIL(&supervisor->children, child, link);
    child->pid = fork();
    if (child->pid == 0)
        become_child(supervisor, child, ready[1]);
    close(ready[1]);
    /* what the parent has dropped is counted by this child, which has metrics */
    if (child->pid != -1)
        (void)log_take_dropped();
    if (child->pid == -1) {
        log_failure("cannot fork");
        postpone(&supervisor->back_offs[index]);
        close(ready[0]);
        TAILQ_REMOVE(&supervisor->children, child, link);
        talloc_free(child);
    }
}

static void drain_child(struct child *child)
{
    if (child->state == CHILD_DRAINING || child->state == CHILD_HUNG)
        return;
    child->state = CHILD_DRAINING;
    child->kill_at_us =
        clock_monotonic_us() + (child->drain_timeout_ms + KILL_AFTER_DRAIN_MS) * 1000;
    kill(child->pid, SIGTERM);
}

static struct child *find_child(const struct supervisor *supervisor, int index, bool current)
{
    struct child *child;

    TAILQ_FOREACH (child, &supervisor->children, link)
        if (child->index == index && child->state != CHILD_DRAINING && child->state != CHILD_HUNG &&
            (child->generation == supervisor->generation) == current)
            return child;
    return NULL;
}

static bool is_any_starting(const struct supervisor *supervisor)
{
    const struct child *child;

    TAILQ_FOREACH (child, &supervisor->children, link)
        if (child->state == CHILD_STARTING)
            return true;
    return false;
}

static struct post look_at_post(const struct supervisor *supervisor, int index)
{
    const struct child *current = find_child(supervisor, index, true);

    return (struct post){
        .current = current != NULL,
        .current_ready = current != NULL && current->state == CHILD_READY,
        .former = find_child(supervisor, index, false) != NULL,
        .other_starting = is_any_starting(supervisor),
        .start_at_us = supervisor->back_offs[index].start_at_us,
    };
}

static void tend_post(struct supervisor *supervisor, int index)
{
    const struct post post = look_at_post(supervisor, index);
    struct post_step step = next_action(&post);
    struct child *former = find_child(supervisor, index, false);

    if (step.at_us > clock_monotonic_us())
        return;
    if (step.action == POST_START)
        start_child(supervisor, index);
    else if (step.action == POST_DRAIN_FORMER && former != NULL)
        drain_child(former);
}

/* ---- Children that hang */

/* Whether a debugger holds it: it says why it does not turn, and killing it would take away what is
   being looked at. A child that was stopped by a signal serves nobody and has no such excuse. */
static bool is_traced(pid_t pid)
{
    char path[32], line[128];
    bool traced = false;

    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    FILE *status = fopen(path, "re");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, "TracerPid:", 10) == 0)
            traced = strtol(line + 10, NULL, 10) != 0;
    if (status != NULL)
        fclose(status);
    return traced;
}

static void end_hung(struct supervisor *supervisor, struct child *child)
{
    char route[ROUTE_BYTES];

    pulse_route(child->pulse, route, sizeof route);
    log_event(LOG_LEVEL_ERROR, "child hangs and is killed",
              log_text("role", supervisor->program->role), log_number("index", child->index),
              log_number("child", child->pid), log_text("route", route));
    /* a core, where the system keeps any, says where it hangs */
    kill(child->pid, SIGABRT);
    child->state = CHILD_HUNG;
    child->kill_at_us = clock_monotonic_us() + KILL_AFTER_ABORT_MS * 1000;
}

static void look_at_child(struct supervisor *supervisor, struct child *child)
{
    uint32_t turns = pulse_turns(child->pulse);
    bool traced = turns == child->watch.turns && is_traced(child->pid);

    if (traced && !child->traced)
        log_event(LOG_LEVEL_WARN, "child is held by a debugger and not watched",
                  log_text("role", supervisor->program->role), log_number("child", child->pid));
    child->traced = traced;
    if (pulse_look(&child->watch, turns, traced))
        end_hung(supervisor, child);
}

/* Children that drain have a deadline of their own. */
static void look_at_children(struct supervisor *supervisor)
{
    struct child *child;
    int64_t now_us = clock_monotonic_us();

    if (now_us < supervisor->look_at_us)
        return;
    supervisor->look_at_us = now_us + PULSE_LOOK_MS * 1000;
    TAILQ_FOREACH (child, &supervisor->children, link)
        if (child->state == CHILD_STARTING || child->state == CHILD_READY)
            look_at_child(supervisor, child);
}

/* Only a parent that turns says so. */
static void tell_watchdog(struct supervisor *supervisor)
{
    int64_t now_us = clock_monotonic_us();

    if (supervisor->watchdog_us == 0 || now_us < supervisor->tell_at_us)
        return;
    notify_manager_if_room("WATCHDOG=1");
    supervisor->tell_at_us = now_us + supervisor->watchdog_us;
}

static void kill_overdue(struct supervisor *supervisor)
{
    struct child *child;

    TAILQ_FOREACH (child, &supervisor->children, link) {
        if ((child->state != CHILD_DRAINING && child->state != CHILD_HUNG) ||
            child->kill_at_us > clock_monotonic_us())
            continue;
        if (child->state == CHILD_DRAINING) {
            log_event(LOG_LEVEL_ERROR, "child did not stop in time and is killed",
                      log_text("role", supervisor->program->role), log_number("child", child->pid));
            supervisor->killed = true;
        }
        kill(child->pid, SIGKILL);
        child->kill_at_us = INT64_MAX;
    }
}

static void announce(struct supervisor *supervisor)
{
    for (int i = 0; i < supervisor->n_posts; i++) {
        const struct child *child = find_child(supervisor, i, true);
        if (child == NULL || child->state != CHILD_READY)
            return;
    }
    notify_manager("READY=1");
    supervisor->announced = true;
}

static void describe(const struct supervisor *supervisor, char *status, size_t size)
{
    const char *role = supervisor->program->role, *phase = "";
    const struct child *child;
    int count = 0;

    if (supervisor->stopping) {
        TAILQ_FOREACH (child, &supervisor->children, link)
            count++;
        snprintf(status, size, "STATUS=stopping, %d %s%s to finish", count, role,
                 count == 1 ? "" : "s");
        return;
    }
    for (int i = 0; i < supervisor->n_posts; i++)
        count += is_manned(supervisor, i) ? 1 : 0;
    if (!supervisor->announced)
        phase = supervisor->generation == 0 ? ", starting" : ", reloading";
    snprintf(status, size, "STATUS=%d of %d %ss ready%s%s", count, supervisor->n_posts, role, phase,
             supervisor->rejected ? "; the configuration was not reloaded, the log says why" : "");
}

/* For who asks the service manager how the service fares. */
static void report(struct supervisor *supervisor)
{
    char status[STATUS_BYTES];

    describe(supervisor, status, sizeof status);
    /* what finds no room is said at the next turn */
    if (strcmp(status, supervisor->status) != 0 && notify_manager_if_room(status))
        strcpy(supervisor->status, status);
}

/* Brings what is to what should be. */
static void tend(struct supervisor *supervisor)
{
    struct child *child;

    tell_watchdog(supervisor);
    kill_overdue(supervisor);
    look_at_children(supervisor);
    if (supervisor->stopping) {
        TAILQ_FOREACH (child, &supervisor->children, link)
            drain_child(child);
        return;
    }
    TAILQ_FOREACH (child, &supervisor->children, link)
        if (child->index >= supervisor->n_posts)
            drain_child(child);
    for (int i = 0; i < supervisor->n_posts; i++)
        tend_post(supervisor, i);
    if (!supervisor->announced)
        announce(supervisor);
}

static void log_death(const struct supervisor *supervisor, const struct child *child, int status)
{
    bool signalled = WIFSIGNALED(status);
    char route[ROUTE_BYTES];

    pulse_route(child->pulse, route, sizeof route);
    log_event(signalled ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "child died",
              log_text("role", supervisor->program->role), log_number("index", child->index),
              log_number("child", child->pid),
              log_number(signalled ? "signal" : "status",
                         signalled ? WTERMSIG(status) : WEXITSTATUS(status)),
              log_text("route", route));
}

static bool had_worked(const struct child *child)
{
    return child->ready_us != 0 && clock_monotonic_us() - child->ready_us >= PROVEN_MS * 1000;
}

static void bury(struct supervisor *supervisor, struct child *child, int status)
{
    /* one that was told to stop before it had a handler has had nothing to finish */
    bool stopped = (WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
                   (WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);

    if (child->state != CHILD_DRAINING || !stopped)
        log_death(supervisor, child, status);
    if (child->state != CHILD_DRAINING && child->index < supervisor->n_posts) {
        struct back_off *back_off = &supervisor->back_offs[child->index];
        if (had_worked(child))
            *back_off = (struct back_off){.delay_ms = 0};
        else
            postpone(back_off);
    }
    if (child->ready_fd != -1)
        close(child->ready_fd);
    TAILQ_REMOVE(&supervisor->children, child, link);
    talloc_free(child);
}

static void reap(struct supervisor *supervisor)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct child *child;
        TAILQ_FOREACH (child, &supervisor->children, link)
            if (child->pid == pid)
                break;
        if (child != NULL)
            bury(supervisor, child, status);
    }
}

static void set_posts(struct supervisor *supervisor)
{
    int count = (int)supervisor->program->count(supervisor->program->data);

    supervisor->back_offs = mem_check(
        talloc_realloc(supervisor, supervisor->back_offs, struct back_off, (unsigned)count));
    memset(supervisor->back_offs, 0, (size_t)count * sizeof *supervisor->back_offs);
    supervisor->n_posts = count;
}

static void reload(struct supervisor *supervisor)
{
    if (supervisor->stopping)
        return;
    notify_reloading();
    /* READY=1 ends a reload, a failed one too; it stays untrue while a child is missing */
    supervisor->announced = false;
    supervisor->rejected = supervisor->program->reload(supervisor->program->data) == -1;
    if (supervisor->rejected)
        return;
    supervisor->generation++;
    set_posts(supervisor);
}

static void stop(struct supervisor *supervisor)
{
    struct child *child;

    if (!supervisor->stopping)
        notify_manager("STOPPING=1");
    if (!supervisor->stopping && supervisor->program->stopping != NULL)
        supervisor->program->stopping(supervisor->program->data);
    /* asked twice, somebody is in a hurry */
    if (supervisor->stopping)
        TAILQ_FOREACH (child, &supervisor->children, link)
            child->kill_at_us = 0;
    supervisor->stopping = true;
}

static void take_signals(struct supervisor *supervisor)
{
    struct signalfd_siginfo info;

    while (read(supervisor->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            reap(supervisor);
        else if (info.ssi_signo == SIGHUP)
            reload(supervisor);
        else
            stop(supervisor);
    }
}

static void take_readiness(struct child *child)
{
    char byte;

    /* the end of the pipe without a byte: it is about to be reaped */
    if (read(child->ready_fd, &byte, 1) == 1 && child->state == CHILD_STARTING) {
        child->state = CHILD_READY;
        child->ready_us = clock_monotonic_us();
    }
    close(child->ready_fd);
    child->ready_fd = -1;
}

static int64_t earlier(int64_t a_us, int64_t b_us)
{
    return a_us < b_us ? a_us : b_us;
}

/* Until the next thing that is due. */
static int next_deadline_ms(const struct supervisor *supervisor)
{
    int64_t at_us = supervisor->look_at_us, now_us = clock_monotonic_us();
    const struct child *child;

    if (supervisor->watchdog_us > 0)
        at_us = earlier(at_us, supervisor->tell_at_us);
    TAILQ_FOREACH (child, &supervisor->children, link)
        if (child->state == CHILD_DRAINING || child->state == CHILD_HUNG)
            at_us = earlier(at_us, child->kill_at_us);
    for (int i = 0; i < supervisor->n_posts && !supervisor->stopping; i++) {
        const struct post post = look_at_post(supervisor, i);
        at_us = earlier(at_us, next_action(&post).at_us);
    }
    return at_us <= now_us ? 0 : (int)((at_us - now_us + 999) / 1000);
}

static void wait_for_change(struct supervisor *supervisor)
{
    TALLOC_CTX *ctx = talloc_new(supervisor);
    struct child *child, *next;
    nfds_t count = 1, i = 1;

    TAILQ_FOREACH (child, &supervisor->children, link)
        count++;
    struct pollfd *fds = mem_check(talloc_zero_array(ctx, struct pollfd, (unsigned)count));
    fds[0] = (struct pollfd){.fd = supervisor->signal_fd, .events = POLLIN};
    TAILQ_FOREACH (child, &supervisor->children, link)
        fds[i++] = (struct pollfd){.fd = child->ready_fd, .events = POLLIN};
    if (poll(fds, count, next_deadline_ms(supervisor)) > 0) {
        i = 1;
        /* before signals, which may take children off the list */
        for (child = TAILQ_FIRST(&supervisor->children); child != NULL; child = next) {
            next = TAILQ_NEXT(child, link);
            if (fds[i++].revents != 0)
                take_readiness(child);
        }
        if (fds[0].revents != 0)
            take_signals(supervisor);
    }
    talloc_free(ctx);
}

/* Signals come through a descriptor only, so that none is lost between two looks. */
static int catch_signals(struct supervisor *supervisor)
{
    sigset_t mask;

    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigaddset(&mask, SIGHUP);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGQUIT);
    if (sigprocmask(SIG_BLOCK, &mask, &supervisor->old_mask) == -1)
        return -1;
    /* inherited as ignored, it would never arrive */
    signal(SIGCHLD, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    supervisor->signal_fd = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    return supervisor->signal_fd == -1 ? -1 : pipe2(supervisor->parent_pipe, O_CLOEXEC);
}

int supervisor_run(const struct supervisor_program *program)
{
    struct supervisor *supervisor = mem_check(talloc_zero(NULL, struct supervisor));

    supervisor->program = program;
    supervisor->watchdog_us = notify_watchdog_us();
    supervisor->look_at_us = clock_monotonic_us() + PULSE_LOOK_MS * 1000;
    TAILQ_INIT(&supervisor->children);
    if (catch_signals(supervisor) == -1) {
        log_failure("cannot take signals");
        talloc_free(supervisor);
        return 1;
    }
    set_posts(supervisor);
    while (!supervisor->stopping || !TAILQ_EMPTY(&supervisor->children)) {
        tend(supervisor);
        report(supervisor);
        log_tell_suppressed(false);
        if (!supervisor->stopping || !TAILQ_EMPTY(&supervisor->children))
            wait_for_change(supervisor);
    }
    int status = supervisor->killed ? 1 : 0;
    log_tell_suppressed(true);
    close(supervisor->signal_fd);
    close(supervisor->parent_pipe[0]);
    close(supervisor->parent_pipe[1]);
    sigprocmask(SIG_SETMASK, &supervisor->old_mask, NULL);
    talloc_free(supervisor);
    return status;
}
