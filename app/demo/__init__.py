"""`signalbox demo`: a run that survives the kill of its worker, or forty vendors that are asked.

    story      makes all that is needed, shows it, and leaves nothing behind
    scenes     what is done, in order, and what has to be true at the end
    sweep      the same of the forty vendors
    service    `signalbox up` on a temporary data directory, as a process of its own
    receiver   a small HTTP server: the other side of the two steps, and the witness
    screen     lines anywhere, and in a terminal the run drawn live below them

It uses nothing of Signalbox but its command line and its HTTP API, as any user would.
"""
