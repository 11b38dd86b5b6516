"""What every reason means and what to do about it: shown by ``relevo why``, printed as ``docs/troubleshooting.md``.

A reason is a stable code in the timeline of a device or of the door, and in ``relevo_refused_total``.
"""

from typing import Final, NamedTuple


class Advice(NamedTuple):
    """``means`` what happened, ``do`` what helps; both are whole sentences."""

    means: str
    do: str


def _of(codes: str, means: str, do: str) -> dict[str, Advice]:
    return dict.fromkeys(codes.split(), Advice(means, do))


REASONS: Final[dict[str, Advice]] = {
    # The wrong door
    **_of("http_on_mqtt_port", "A web browser or HTTP client connected to the MQTT port.",
          "Point it at the HTTP port (8000 unless configured otherwise)."),
    **_of("tls_on_mqtt_port", "A client began TLS on the port for plain MQTT.",
          "Use the MQTTS port (8883 when a certificate is set), or turn TLS off in the client."),
    **_of("mqtt_on_http_port", "An MQTT client connected to the HTTP port.",
          "Point it at the MQTT port (1883); MQTT over WebSocket is at /mqtt on the HTTP port."),
    **_of("tls_on_http_port", "A client began TLS on the port for plain HTTP.",
          "Use https on the TLS port (8443 when a certificate is set), or http on this one."),
    **_of("plain_on_tls_port", "A client spoke without TLS to the port for MQTT over TLS.",
          "Turn TLS on in the client, or use the port for plain MQTT (1883 unless configured otherwise)."),
    **_of("tls_version", "Client and server have no version of TLS or no cipher in common.",
          "Versions 1.2 and 1.3 are spoken here: update the client's TLS library."),
    **_of("tls_server_untrusted", "The client does not trust the certificate that this server shows.",
          "Put the authority that signed it into the board, connect under a name that stands in it, and look at both "
          "clocks."),
    **_of("tls_certificate_refused", "The client's certificate is expired, or of an authority not trusted here.",
          "Issue one with relevo ca issue, or see the setting tls_client_ca; the detail says what is wrong with it."),
    **_of("tls_timeout tls_left", "A client began TLS and did not finish it.",
          "Often it does not trust the server's certificate and says nothing; a look into its own log tells."),
    **_of("tls_failed", "A TLS handshake failed for a reason that the detail names.",
          "Look into the client's log at that moment."),
    **_of("host_not_trusted", "The server was asked under a public name it does not know.",
          "If the name is this server's, add it to the setting trusted_hosts."),
    **_of("proxy_header", "An address in mqtt_proxy_from sent no PROXY protocol header of version 2.",
          "Turn PROXY protocol 2 on in the balancer, or take its address out of the setting."),
    **_of("connect_timeout request_too_slow", "A connection was opened and then not used in time.",
          "Check the network, and that the board sends its request at once after connecting."),
    **_of("too_many_connections too_many_connections_of_address", "There was no room for one more connection.",
          "See limits.connections and limits.connections_per_address; a board that reconnects in a loop leaks them."),
    # Who it is
    **_of("bad_credentials", "The key or password is not the device's, or it was revoked.",
          "Put the key that the device was created with into the board, or rotate it and use the new one."),
    **_of("credential_expired", "The credential was good once and its time is over.",
          "Give the board the new key; a rotation leaves the old one working only for its grace period."),
    **_of("wall_unknown", "Somebody opened a link to a wall that is revoked, over, or never was.",
          "Make a new link for the dashboard and open it on that screen; many of these from one address are guesses."),
    **_of("unknown_device", "The MQTT user name is no device here.",
          "Create the device, or put its exact id into the board as user name; capitals matter."),
    **_of("device_unknown", "Readings came for a device that is not in the registry.",
          "Create or claim the device first; check the id for typing mistakes."),
    **_of("anonymous_closed", "A client without user name and password, while that is not allowed.",
          "Give the board its key, or for old boards turn on anonymous_mqtt on a private network."),
    **_of("anonymous_not_private", "A client without an account came from a public address.",
          "Boards without an account are let in from private networks only; give this one a key."),
    **_of("bad_login", "Somebody signed in with a wrong name or password.",
          "Ask an administrator for a new password if it is forgotten."),
    **_of("bad_refresh_token", "A refresh token that was never given, is old, or was used before.",
          "Sign in again; when it was used before, somebody else may have had it and the session is ended."),
    **_of("too_many_attempts", "Too many wrong credentials in a short time.",
          "Correct the credential, then wait: one minute for MQTT, five for people."),
    **_of("certificate_unknown", "The certificate's common name and fingerprint belong to no device.",
          "Issue one with relevo ca issue, or put its SHA-256 fingerprint into the attribute certificate_sha256."),
    **_of("certificate_of_another", "The certificate belongs to another device than the user name says.",
          "Leave the user name out, or use the device's own certificate."),
    **_of("certificate_revoked", "The certificate was revoked, or its record was removed.",
          "Issue a new one with relevo ca issue."),
    **_of("passwords_busy", "Too many passwords that people chose were checked at that moment.",
          "Boards that come again get in; generated passwords and keys never wait."),
    **_of("code_invalid code_wrong code_expired label_unreadable label_too_long claim_ambiguous "
          "claim_empty contract_unknown", "A claim code or QR that fits no device.",
          "Type the code again as it stands on the label; a code is good once, and an operator can make a new one."),
    **_of("csv_header csv_malformed", "A factory list, or a line of an imported file, that cannot be read.",
          "The first row names the columns, of a factory list contract, serial, key, name, type, site, tags; the "
          "detail names the row."),
    **_of("import_format import_options", "A file to be imported is not what it is said to be, or too little is said "
          "of it.", "See docs/import.md: name the format, the column of times, and whose readings they are."),
    **_of("time_unreadable", "A line of an imported file was left out for its time.",
          "Say how times are written (time_format), and the zone of those that name none."),
    **_of("format_missing", "No file of this kind can be written here.",
          "For Parquet install relevo[parquet]; for the command the name has to end in .csv, .jsonl or .parquet."),
    **_of("client_id_taken", "Another account has a session under this client id.",
          "Give every board a client id of its own, for example its device id."),
    **_of("client_id_missing client_id_too_long client_identifier_not_valid", "The MQTT client id cannot be used.",
          "Send 1 to 256 bytes; an empty one needs a clean session."),
    **_of("taken_over", "A second connection with the same client id and credential took the first one's place.",
          "Two boards share a client id and throw each other out: give each its own."),
    **_of("revoked", "The credential was revoked while the device was connected.",
          "Give the board the new credential."),
    # What it may
    **_of("topic_not_allowed", "The device published to a topic that is not its own.",
          "A native device has relevo/ITS-ID/…; check the id in the topic, and that it is the user name."),
    **_of("filter_not_allowed", "The device subscribed to what is not its own; wildcards never widen a right.",
          "Subscribe to the exact topics of the device."),
    **_of("will_not_allowed", "The last will's topic is not the device's own, so it was not let in.",
          "Set the will to a topic below the device's own, such as relevo/ITS-ID/status."),
    **_of("not_allowed", "The key belongs to another device, or the person has no right to this.",
          "Use the device's own key; ask its owner for a share."),
    **_of("not_its_own", "A device with its own credential sent a reading in the name of another.",
          "Check the serial number in the payload; a record number must be the one in the attribute id_dispositivo."),
    **_of("too_many_requests", "More HTTP requests a minute than one asker may make.",
          "Send several readings in one request; see limits.requests_per_minute_of_device."),
    # What it sent
    **_of("json_malformed json_not_object payload_empty utf8_invalid", "The payload is no JSON object.",
          "Print what the board sends; a frequent cause is nan, a missing quote or a buffer that is too small."),
    **_of("json_duplicate_key json_too_deep text_has_nul", "JSON that different readers would read differently.",
          "Send each key once, at most 32 levels deep, without NUL characters."),
    **_of("value_null value_not_finite value_out_of_range value_type value_negative value_too_large text_too_long",
          "One value of a reading was left out; the others were stored.",
          "The detail names the key and the limit; leave out what the sensor could not measure."),
    **_of("key_invalid too_many_keys", "A name of a value cannot be used, or there are too many.",
          "Names have 1 to 64 printable characters; see limits.keys_per_reading."),
    **_of("reading_empty reading_malformed field_unknown seq_invalid payload_format_invalid",
          "The reading has not the form of its contract.",
          'Send {"key": value} or {"ts": …, "values": {…}, "boot": …, "seq": …}; the detail names the field.'),
    **_of("batch_too_long body_too_large packet_too_large", "More was sent at once than the limit allows.",
          "Send less at once, or raise limits.batch_items, limits.http_body_bytes or limits.packet_bytes."),
    **_of("answer_malformed status_unknown serial_invalid serial_missing serial_mismatch id_invalid",
          "The message breaks the contract of its topic.",
          "The detail says what was expected."),
    **_of("topic_too_long topic_too_deep filter_too_long too_many_subscriptions", "A topic or filter breaks a limit.",
          "See limits.topic_bytes, limits.topic_levels and limits.subscriptions."),
    **_of("malformed_packet protocol_error topic_name_invalid topic_filter_invalid receive_maximum_exceeded "
          "topic_alias_invalid unsupported_protocol_version bad_authentication_method",
          "The bytes are no MQTT, or MQTT used wrongly; the detail cites the statement of the standard.",
          "Update the client library; versions 3.1, 3.1.1 and 5.0 are spoken here."),
    # What became of it
    **_of("registration_closed", "An unknown board, while no pairing window is open.",
          "Approve it in the list of unclaimed devices, or open a window with relevo pair --minutes 10 and let it try "
          "again."),
    **_of("unclaimed", "An unknown board of a contract in which an operator adds devices.",
          "Approve it in the list of unclaimed devices, or claim it by its serial number or its code."),
    **_of("blocked", "An operator blocked this board.",
          "Restore it in the list of unclaimed devices to hear it again."),
    **_of("unclaimed_full", "An unknown board, while as many as may wait are waiting for somebody to claim them.",
          "Claim or delete some of them, or approve this one in the list of unclaimed devices; see alchemy.unclaimed."),
    **_of("registration_not_private", "An unknown board of a public address wanted to register itself.",
          "Boards register themselves from private networks only: approve it in the list of unclaimed devices."),
    **_of("identity_missing", "A board did not say who it is.",
          "Set a serial number in the board, or a default one in the settings."),
    **_of("identity_unusable", "The name of a board cannot be a device id.",
          "Approve it in the list of unclaimed devices, which gives it an id that can; or name it with letters, digits "
          "and _ . : - only."),
    **_of("registrations_busy", "Too many boards registered themselves at the same time.",
          "They try again by themselves; nothing has to be done."),
    **_of("registration_invalid", "A relay board registered with a field that breaks its contract.",
          "The detail names the field; update the board's firmware or configuration."),
    **_of("mqtt_config_closed", "A relay board asked for its broker settings without its key.",
          "Open a pairing window with relevo pair, or give the board its key."),
    **_of("device_id_mismatch", "The payload names another device than the topic, on an account of many.",
          "Give the board an account of its own, or send the device_id that stands in its topic."),
    **_of("topic_unsupported", "The topic belongs to a contract but is not read by this version.",
          "Nothing is lost that was read before; look into the changelog of newer versions."),
    **_of("uuid_mismatch", "The payload names another board than the topic.",
          "Configure the board again; two boards may have been cloned from one image."),
    **_of("image_invalid release_invalid", "An image of firmware, or what its release.json says, breaks a limit.",
          "The answer names the file or field and the limit; see docs/updates.md for what an image is."),
    **_of("rollout_invalid", "A roll-out of firmware that says something it may not, or that would reach nobody.",
          "The answer names the field; the preview says which device is left out and why."),
    **_of("update_malformed", "A board asked for an update, or told of one, in a way that breaks a limit.",
          "The detail names the field and the limit; see docs/updates.md."),
    **_of("update_unproven", "Something asked for an update over MQTT without a credential of the device's own.",
          "Give the board a key of its own; a shared or anonymous account gets no firmware."),
    **_of("selection_invalid command_unknown", "A command to a device that cannot be told so, or to nobody.",
          "The answer names the field; see docs/commands.md for what each contract understands."),
    **_of("relay_excluded", "A client told a relay by MQTT to go on while another of its group is on.",
          "Switch the other one off first, or change the protection of the relays; see docs/autocore.md."),
    **_of("rule_invalid", "A rule whose condition or action breaks a limit.",
          "The answer names the place in the condition and the limit."),
    **_of("rule_failed", "A rule fired, and part of what it does could not be done; the detail says why.",
          "Correct the rule's action, or give its owner the right to control the device; see docs/rules.md."),
    **_of("rule_looped", "A rule set itself off again and again and was switched off.",
          "What it does makes its own condition true: add hysteresis, a cooldown or another scope, then switch it on."),
    **_of("webhook_invalid", "A webhook that breaks a limit.",
          "The answer names each field and its limit; see docs/webhooks.md."),
    **_of("target_refused", "A URL that cannot be sent to: its form, or an address that is not open to this server.",
          "Use a public https URL; an administrator opens private addresses, see docs/webhooks.md."),
    **_of("webhook_dead_letter", "A webhook's receiver did not take an event in time; it is kept as a dead letter.",
          "Mend the receiver, then replay the dead letters of the webhook."),
    **_of("webhook_dead_letters_full", "A webhook has more dead letters than are kept; the oldest were dropped.",
          "Mend the receiver and replay them, or raise webhooks.dead_letters."),
    **_of("webhook_disabled", "A webhook was switched off: its receiver is gone, or failed for too long.",
          "Mend the receiver and switch the webhook on again: it goes on where it stopped."),
    **_of("webhook_gap", "The journal no longer held what a webhook had still to look at.",
          "Keep the journal for longer than a receiver may be away."),
    **_of("schedule_invalid", "A schedule that says something it may not, or that would never run.",
          "The answer names each field and its limit; see docs/schedules.md."),
    **_of("site_invalid", "What was said of a site breaks a limit.",
          "The answer names the field and its limit; coordinates are degrees north and east, given together."),
    **_of("retention_invalid", "What was said of how long readings are kept breaks a limit.",
          "The answer names each field and its limit; see docs/retention.md."),
    **_of("customer_invalid", "What was said of a customer of a water utility breaks a limit.",
          "The answer names the field and its limit; see docs/hidrometro.md."),
    **_of("tariff_invalid", "What was said of a tariff of water breaks a limit.",
          "The answer names the field and its limit; see docs/water.md."),
    **_of("schedule_skipped", "A schedule did not run, or not for this device; the detail says which run and why.",
          "Runs that come too late are governed by late_limit_s and missed of the schedule; see docs/schedules.md."),
    **_of("schedule_left_out", "A schedule names this device, and its owner may not control it.",
          "Give the schedule's owner the right to control the device, or take the device out of the schedule."),
    **_of("schedule_failed", "A schedule could not tell this device what to do; the detail says why.",
          "Correct the schedule's action as docs/commands.md describes it for the device's contract."),
    **_of("channel_url_refused", "A channel for notices that may not be entered, or not by this person.",
          "The answer names what is allowed; own hosts are an administrator's to enter, see docs/notifications.md."),
    **_of("zone_unknown", "A time zone that the IANA database does not know.",
          "Use a name like Europe/Madrid; the answer proposes one."),
    **_of("queue_full retained_full", "A slow or absent client lost its oldest messages, or there is no room.",
          "See limits.queued_messages, limits.queued_bytes and limits.retained."),
    **_of("not_stored", "The device was removed meanwhile, or the database refused the entry.",
          "The log says which; relevo doctor looks at the database."),
    **_of("keep_alive", "The device was silent for one and a half times its keep-alive and was disconnected.",
          "Weak reception, a board that sleeps, or a loop that blocks longer than the keep-alive."),
    **_of("lost", "The connection broke without a good-bye.", "Weak reception or power."),
    # Changing history
    **_of("span_empty", "A span of time was given whose end is not later than its beginning.",
          "Give the earlier time first; the end itself is not part of the span."),
    **_of("point_outside points_unordered", "A point that is to replace others is outside of the span, or not later "
          "than the one before.", "Send points with rising times within the span that they replace."),
    **_of("interval_invalid", "History was asked for by an interval that there is not, or that gives too many rows.",
          "Use 1m to 720m, 1h to 24h, 1d, 1w, 1mo or 1y; for a long span a longer one."),
    **_of("too_many_days", "Completeness was asked for over more days than are told at once.",
          "Ask for a shorter span."),
    **_of("too_many_points", "More points were to be replaced at once than may be.",
          "Correct a shorter span at a time."),
}  # fmt: skip

NOTICES: Final[dict[str, Advice]] = {
    **_of("clock_missing clock_boot_relative clock_epoch_2000 clock_before_2015 clock_future clock_no_zone "
          "clock_unreadable",
          "The board's clock could not be used; the time of arrival or a repaired time was stored.",
          "Set the clock by NTP after connecting, and send milliseconds UTC."),
    **_of("command_timed_out", "A command was sent and the device did not answer in time; it may have been done.",
          "Look whether the device is subscribed to its command topic, and whether it answers with the command's id."),
    **_of("command_expired", "A command waited for the device until its time was over, and never left.",
          "Bring the device back, or give commands a longer ttl if they may come late."),
    **_of("command_failed", "The device refused a command; the detail is its own word.",
          "Compare the command's name and parameters with what the device understands."),
    **_of("update_failed", "An update did not get onto the board: hash, size, network, flash or image.",
          "The board runs what it ran before. Look at the network for hash and network, then retry the roll-out."),
    **_of("update_refused", "The board did not take an update: the detail is what did not fit.",
          "For signature give it this server's update key or its own key again; for space make room on its flash."),
    **_of("update_rolled_back", "The new firmware did not become healthy, and the board went back to the former one.",
          "Look at what it logs while on trial; do not go on with the release before that is understood."),
    **_of("update_timed_out", "An update was offered, and the board said nothing more of it in time.",
          "Retry the roll-out once the board is back; patience_s gives slow ones longer."),
    **_of("update_skipped", "A roll-out left the device out; the detail says why.",
          "See docs/updates.md for the reasons; a board that never said what it is has to look for an update once."),
    **_of("answer_unmatched", "The device answered a command that is over, or that it was never told.",
          "Harmless when it is late or repeated; raise commands.answer_s if its answers are always late."),
    **_of("desired_failed", "The device was in contact for long enough and did not become what was desired of it.",
          "Look whether it listens on its topic for desired state and reports what it then is; the detail names the "
          "keys. Ask for it again once it does; twins.agree_within_s gives slow devices longer."),
    **_of("desired_unknown", "Something was desired that the device's contract has no words for.",
          "The error names the keys that there are; other contracts are told with commands."),
    **_of("desired_unsayable", "What is desired of the device cannot be said to it since its attributes changed.",
          "Take the key back, or correct the attributes."),
    **_of("value_unknown", "A configuration says what its contract does not know, such as a mode.",
          "The detail names the field and the words that are known."),
    **_of("document_too_large", "A desired or reported state would be larger than 16,384 bytes.",
          "Take keys away that nobody needs (null), and send measurements as telemetry."),
    **_of("relay_shut_off", "A relay was switched off because nobody held its key any more, or its time was over.",
          "Whoever holds a momentary relay says so every 500 ms; the most time of a timed one is its channel's."),
    **_of("sensor_unassigned", "The device sent a value that none of its sensors has; the others were stored.",
          "Assign a sensor whose mqtt_topic_suffix is that key; the device's page in the API lists such keys."),
    **_of("fuera_de_rango", "A value beyond the range of its sensor was stored and flagged.",
          "Look at the sensor, or correct its rango_min and rango_max."),
    **_of("redelivered", "A message came again within a minute, because its acknowledgement was lost: stored once.",
          "Nothing has to be done."),
    **_of("retained_skipped", "An old message that the broker had kept was not counted as a new reading.",
          "Publish readings with the retain flag off."),
}  # fmt: skip


def advice_for(kind: str, reason: str) -> Advice | None:
    """What to say about a line of a timeline, ``None`` for one that explains itself."""
    return REASONS.get(reason) or NOTICES.get(kind)


_PUT_ASIDE: Final = {
    "ignored": Advice("An operator put this board aside.", "Restore it to see it in the list again, or approve it."),
    "blocked": REASONS["blocked"],
}


def advice_for_stranger(reason: str, standing: str) -> Advice | None:
    """What to say about an unclaimed entry: why it was not let in, or what an operator decided about it."""
    return _PUT_ASIDE.get(standing) or REASONS.get(reason)


def page() -> str:
    """``docs/troubleshooting.md``; ``python -m relevo.domain.reasons`` prints it."""
    lines = [
        "# Why does my board not appear?",
        "",
        "Made by `python -m relevo.domain.reasons`; a test holds it true.",
        "",
        "    relevo why NAME",
        "",
        "`NAME` is the device's id or serial number, the user name the board uses, or the board's network address. The",
        "answer begins with a verdict: what happened last and what helps. Below it stands the device's story, what the",
        "list of unclaimed devices knows, and what the doors refused under that name. `GET /api/v1/why?about=NAME`",
        "says the same as JSON, `GET /api/v1/devices/{id}/timeline` is the whole story of a device. The same thing",
        "within a minute is one line with a count.",
        "",
        "Nothing there at all? Then nothing has reached this server: check the address and port in the board, that it",
        "is in the network, and that no firewall is between. `relevo doctor` looks at this side.",
        "",
        "| Reason | What happened | What helps |",
        "|---|---|---|",
    ]
    for table in (REASONS, NOTICES):
        grouped: dict[Advice, list[str]] = {}
        for code, advice in table.items():
            grouped.setdefault(advice, []).append(f"`{code}`")
        lines += [f"| {', '.join(codes)} | {advice.means} | {advice.do} |" for advice, codes in grouped.items()]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    import sys

    sys.stdout.write(page())
