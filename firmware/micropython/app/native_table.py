"""The settings of a board of contract native; ``device_uuid`` is the device's id."""

from late import late

_usual = late("usual_table")
# How often it measures, in seconds; 0 as its profile says.
FIELDS = dict(_usual.FIELDS, interval_s=(0, 86400))
SECRETS = _usual.SECRETS
PASSING = _usual.PASSING
LASTING = _usual.LASTING
older = _usual.older
