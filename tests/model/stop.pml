/* SPDX-License-Identifier: MIT
 *
 * A model of src/os/linux/helper.c: the world is stopped while threads are made and end. Places for threads are reused,
 * as thread ids are, and a pass over them is not atomic. While some thread does not stop, those that have are let go,
 * and all is begun again.
 *
 * What must hold: when the body runs, every thread that lives stands still; and none stays stopped.
 *
 * bugs: ONE_PASS NOT_WHOLE NO_WAIT STAYS_KNOWN
 */
#define PLACES  4
#define BIRTHS  4
#define HOLDS   2

bool lives[PLACES], seized[PLACES], stopped[PLACES];
bool known[PLACES]; /* to have stopped, by the helper */
byte births = 0;
bool in_body = false, over = false;

inline be_born(place)
{
    if
    :: births < BIRTHS && !lives[place] ->
        lives[place] = true; seized[place] = false; stopped[place] = false; births++
    :: else
    fi
}

/* Any thread that lives and is not stopped may make another one, or end. A seized one stops at some time. */
active proctype threads()
{
    byte t, place;
    atomic { lives[0] = true; births = 1 };
    do
    :: over -> break
    :: else ->
        atomic {
            select(t : 0 .. PLACES - 1);
            if
            :: lives[t] && !stopped[t] ->
                assert(!in_body);
                if
                :: select(place : 0 .. PLACES - 1); be_born(place)
                :: t != 0 -> lives[t] = false; seized[t] = false
                :: seized[t] -> stopped[t] = true
                :: true
                fi
            :: else
            fi
        }
    od
}

/* Who has not stopped stays seized. */
inline let_go()
{
    atomic {
        place = 0;
        do
        :: place == PLACES -> break
        :: else ->
            if
            :: known[place] ->
                stopped[place] = false;
#ifndef STAYS_KNOWN
                seized[place] = false; known[place] = false
#endif
            :: else
            fi;
            place++
        od
    }
}

active proctype helper()
{
    byte t, listed, alive, place;
    byte holds = 1;
    bool fresh, whole, all_stopped = false;
    births > 0;
    do
    :: true ->
        fresh = false;
        listed = 0;
        t = 0;
        do
        :: t == PLACES -> break
        :: else ->
            atomic {
                if
                :: lives[t] ->
                    listed++;
                    if
                    :: !seized[t] -> seized[t] = true; fresh = true
                    :: else
                    fi
                :: else
                fi;
                t++
            }
        od;
        atomic {
            alive = 0;
            t = 0;
            do
            :: t == PLACES -> break
            :: else -> alive = alive + (lives[t] -> 1 : 0); t++
            od;
            whole = (alive == listed)
        }
#ifdef NOT_WHOLE
        whole = true;
#endif
#ifdef ONE_PASS
        all_stopped = true;
#endif
        if
        :: !fresh && whole && all_stopped -> break
        :: else
        fi;
        all_stopped = !fresh;
        t = 0;
        do
        :: t == PLACES || fresh -> break
        :: else ->
#ifndef NO_WAIT
            if
            :: !lives[t] || !seized[t] || known[t]
            :: atomic { lives[t] && seized[t] && stopped[t] -> known[t] = true }
            :: holds < HOLDS -> let_go(); holds++; all_stopped = false; fresh = true
            fi;
#endif
            t++
        od
    od;
    atomic {
        in_body = true;
        t = 0;
        do
        :: t == PLACES -> break
        :: else -> assert(!lives[t] || stopped[t]); t++
        od
    }
    in_body = false;
    atomic {
        t = 0;
        do
        :: t == PLACES -> break
        :: else -> stopped[t] = false; seized[t] = false; t++
        od;
        over = true
    }
}
