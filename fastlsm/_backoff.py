"""For how long calls stay on one thread once more have lost time."""

_MOST_CREDIT = 0.02  # seconds: a few late threads' worth
_GROWTH = 4  # of a wait, over the last one or over what was lost
_LONGEST_WAIT = 1.0  # seconds: after that a crowd that has gone is noticed


class Backoff:
    """Keeps calls on one thread while several lose more time than they gain.

    OpenMP waits for all threads of a region. One whose processor another program has comes when the scheduler lets it,
    which is milliseconds later; one that sleeps has to be woken. Neither shows before it has happened. So calls try:
    what threads gain pays for those that come late, and where it does not, calls wait on one thread before they try
    again, for longer each time.

    `clock` returns seconds. One thread at a time may call `note`; any may call `holds` meanwhile.
    """

    def __init__(self, clock):
        self._clock = clock
        self._credit = 0.0
        self._wait = 0.0  # the last one; 0 if it is forgotten
        self._end = 0.0

    def holds(self):
        """Whether a call is to stay on one thread."""
        return self._end > 0 and self._clock() < self._end

    def note(self, lost):
        """A call had several threads, and lost so many seconds by that, or gained them if it is below 0."""
        self._credit = min(self._credit - lost, _MOST_CREDIT)
        if self._credit < 0:
            self._wait = min(_GROWTH * max(self._wait, -self._credit), _LONGEST_WAIT)
            self._end = self._clock() + self._wait
            self._credit = 0.0
        elif self._wait > 0 and self._clock() >= self._end + self._wait:
            self._wait = self._end = 0.0  # threads have been worth it for as long as calls waited
