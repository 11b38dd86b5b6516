"""The settings of a water meter; ``device_uuid`` is its serial number."""

from late import late

_usual = late("usual_table")
FIELDS = dict(_usual.FIELDS, topic_dados=("hidrometro/dados", 96), topic_cmd=("hidrometro/cmd", 96))
SECRETS = _usual.SECRETS
PASSING = _usual.PASSING
LASTING = _usual.LASTING
older = _usual.older
