"""What crosses the control socket.

Messages are JSON with the field names of these modules. Fields may be added, never renamed; a
reader ignores fields it does not know, the daemon refuses a request that has any. The daemon
checks names, versions and paths; a message only says their types.

A stream is one message a line, distinguished by ``type``: ``progress`` about once a second, and one
last ``result``, or one last ``error`` if there will be no result.
"""
