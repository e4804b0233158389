"""What runs inside the inference engine: how long a step takes, and which schedule meets a latency target.

Pure and small: the standard library and numpy, nothing else, since it is imported into processes that are not ours.
Fitting by other means (scipy) and drawing (matplotlib) are imported where they are called, in tools outside an engine.

Times are milliseconds here, as step times and agreements on them are spoken of; sizes are tokens and requests.
"""
