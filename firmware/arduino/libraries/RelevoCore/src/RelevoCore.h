// Everything of the library. Dependency-free: the same headers are compiled for a board and for a test on a computer.
#pragma once

#include "relevo/autocore.h"
#include "relevo/backoff.h"
#include "relevo/commands.h"
#include "relevo/console.h"
#include "relevo/flow.h"
#include "relevo/json.h"
#include "relevo/json_writer.h"
#include "relevo/meter_words.h"
#include "relevo/outbox.h"
#include "relevo/pace.h"
#include "relevo/provisioning.h"
#include "relevo/relays.h"
#include "relevo/settings.h"
#include "relevo/text.h"
#include "relevo/topics.h"
#include "relevo/urls.h"
