// The library's headers on a computer, under sanitizers.
#include <RelevoCore.h>

#include <limits>

#include "check.h"

using namespace relevo;

TEST(json_gives_what_it_is_asked_for_when_it_is_exactly_that) {
  json::Document<16, 64> document;
  CHECK(document.parse(R"({"a":1,"b":1.0,"c":true,"d":"x","e":null,"f":[1,[2]],"g":{}})") == json::Problem::none);
  const json::Value root = document.root();
  int64_t whole = 9;
  double number = 9;
  bool flag = false;
  Slice text;
  CHECK(root["a"].read(whole) && whole == 1);
  CHECK(root["a"].read(number) && number == 1.0);
  CHECK(!root["a"].read(flag) && !root["a"].read(text));
  CHECK(!root["b"].read(whole) && root["b"].read(number));
  CHECK(root["c"].read(flag) && flag && !root["c"].read(whole) && !root["c"].read(number));
  CHECK(root["d"].read(text) && text == Slice("x"));
  CHECK(root["e"].is_null() && root["e"].exists() && !root["z"].exists());
  EQUAL(root["f"].size(), 2u);
  CHECK(root["f"].first().next().first().read(whole) && whole == 2);
  CHECK(root["g"].is_object() && root["g"].size() == 0 && !root["g"].first().exists());
  CHECK(!root["a"]["b"].exists() && !json::Value().exists() && !json::Value()["x"].exists());
}

TEST(json_names_what_is_wrong) {
  json::Document<8, 32> document;
  const struct {
    const char* text;
    json::Problem problem;
  } wrong[] = {
      {"", json::Problem::syntax},         {"{", json::Problem::syntax},          {"{}x", json::Problem::trailing},
      {"[1,]", json::Problem::syntax},     {"01", json::Problem::trailing},       {"NaN", json::Problem::syntax},
      {"-Infinity", json::Problem::syntax}, {"1e999", json::Problem::number},     {"\"\\ud800\"", json::Problem::text},
      {"\"\\u0000\"", json::Problem::text}, {"\"\xff\"", json::Problem::text},    {"\"\xc0\xaf\"", json::Problem::text},
      {"{\"a\":1,\"\\u0061\":2}", json::Problem::duplicate},                      {"[[[[[[[[[1]]]]]]]]]", json::Problem::room},
      {"\"012345678901234567890123456789012\"", json::Problem::room},             {"[1,2,3,4,5,6,7,8]", json::Problem::room},
      {"\"\n\"", json::Problem::syntax},   {"+1", json::Problem::syntax},         {"1.", json::Problem::syntax},
      {"'a'", json::Problem::syntax},      {"\xef\xbb\xbf{}", json::Problem::syntax},
  };
  for (const auto& one : wrong) {
    EQUAL(std::string(one.text) + name_of(document.parse(one.text)), std::string(one.text) + name_of(one.problem));
    CHECK(!document.root().exists());
  }
  json::Document<32, 32> roomy;
  CHECK(roomy.parse("[[[[[[[[1]]]]]]]]") == json::Problem::none);
  CHECK(roomy.parse("[[[[[[[[[1]]]]]]]]]") == json::Problem::depth);
}

TEST(json_is_written_without_nan_and_not_beyond_its_room) {
  json::Message<128> out;
  out.begin_object().member("a", 1).member("nan", std::numeric_limits<double>::quiet_NaN());
  out.member("inf", std::numeric_limits<double>::infinity()).member("b", 0.1).member("t", "q\"\\\n\xc3\xa9");
  out.key("l").begin_list().number(std::numeric_limits<double>::infinity()).boolean(true).begin_object().end_object();
  out.end_list().end_object();
  EQUAL(std::string(out.c_str()), "{\"a\":1,\"b\":0.1,\"t\":\"q\\\"\\\\\\u000a\xc3\xa9\",\"l\":[null,true,{}]}");
  json::Message<8> small;
  small.begin_object().member("key", "value").end_object();
  CHECK(!small.ok() && small.size() < 8);
}

TEST(topics_and_identities) {
  const uint8_t mac[6] = {0xAA, 0xBB, 0xCC, 0x0A, 0x1B, 0x2C};
  EQUAL(std::string(uuid_of(mac).c_str()), "550e8400-e29b-41d4-a716-0a1b2c");
  EQUAL(std::string(mac_text(mac).c_str()), "AA:BB:CC:0A:1B:2C");
  EQUAL(std::string(device_topic("autocore", "u-1", "command").c_str()), "autocore/devices/u-1/command");
  CHECK(device_topic(std::string(130, 'x').c_str(), "u", "c").empty());
  for (const char* good : {"esp32_relay_0a1b2c", "a:b.c-d", "X"}) CHECK(valid_uuid(good));
  for (const char* bad : {"", "a/b", "a+b", "a#", "a b", "0123456789012345678901234567890123456"}) CHECK(!valid_uuid(bad));
  CHECK(valid_topic("hidrometro/3/5/dados") && !valid_topic("a/#") && !valid_topic("") && !valid_topic("a\nb"));
}

TEST(plain_http_is_for_private_addresses) {
  for (const char* host : {"127.0.0.1", "10.1.2.3", "172.16.0.1", "172.31.9.9", "192.168.4.1", "169.254.1.1"}) CHECK(is_private(host));
  for (const char* host : {"8.8.8.8", "172.32.0.1", "example.org", "10.1.2.999", "10.1", "10.1.2.3.4", "", "10.1.2.", "1e1.1.1.1"})
    CHECK(!is_private(host));
  CHECK(may_be_asked("http://10.0.0.2:8000", false) && may_be_asked("https://example.org", false));
  CHECK(!may_be_asked("http://example.org", false) && may_be_asked("http://example.org", true));
  CHECK(!may_be_asked("http://10.0.0.2@evil.example", false) && !may_be_asked("ftp://10.0.0.2", true));
  Url url;
  CHECK(url.parse("HTTPS://host:8443/path") && url.secure && url.port == 8443 && url.host == Slice("host"));
  for (const char* bad : {"server", "http://", "http://:80", "http://h:0", "http://h:99999", "http://h x", "http:///p"}) CHECK(!url.parse(bad));
}

TEST(backoff_is_between_a_second_and_a_minute) {
  Backoff backoff;
  const uint32_t bounds[] = {2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000};
  for (const uint32_t bound : bounds) {
    Backoff lowest = backoff, highest = backoff;
    EQUAL(lowest.next(0), 1000u);
    EQUAL(highest.next(UINT32_MAX), bound);
    const uint32_t middle = backoff.next(0x80000000u);
    CHECK(middle > 1000 && middle < bound);
  }
  for (int i = 0; i < 1000; i++) backoff.next(1);
  EQUAL(backoff.next(UINT32_MAX), 60000u);
  backoff.succeeded();
  EQUAL(backoff.next(UINT32_MAX), 2000u);
}

TEST(outbox_lets_go_when_it_was_acknowledged_and_counts_what_it_loses) {
  Outbox<int, 3> box(7);
  CHECK(box.empty() && !box.front() && !box.acknowledge(1));
  for (int i = 0; i < 3; i++) box.push(i, 100 * i);
  EQUAL(box.front()->value, 0);
  EQUAL(box.front()->boot, 7u);
  EQUAL(box.front()->age_ms(250), 250u);
  EQUAL(box.front()->age_ms(0), 0u);
  const uint32_t oldest = box.front()->seq;
  box.push(3, 300);
  EQUAL(box.dropped(), 1u);
  // Its acknowledgement comes late: nothing else goes in its place.
  CHECK(!box.acknowledge(oldest));
  for (int wanted = 1; wanted <= 3; wanted++) {
    EQUAL(box.front()->value, wanted);
    CHECK(box.acknowledge(box.front()->seq));
  }
  CHECK(box.empty());
}

TEST(a_command_is_answered_from_memory_the_second_time_also_after_a_reset) {
  Ledger<16> ledger;
  uint8_t stored[16][STORED_RESULT_MOST];
  size_t sizes[16] = {0};
  for (int i = 0; i < 20; i++) {
    Text<8> id;
    id.format("c%d", i);
    const int place = ledger.remember(id, Slice("{}"));
    CHECK(place >= 0 && place < 16);
    sizes[place] = encode(ledger.at(static_cast<size_t>(place)), stored[place]);
  }
  CHECK(!ledger.find("c3") && ledger.find("c4") && ledger.find("c19") && !ledger.find(""));
  Ledger<16> again;
  for (size_t i = 0; i < 16; i++) CHECK(restore(again, i, stored[i], sizes[i]));
  CHECK(!again.find("c3") && again.find("c4") && again.find("c19")->answer.slice() == Slice("{}"));
  // It goes on where it was: the oldest makes room.
  again.remember("c20", "{}");
  CHECK(!again.find("c4") && again.find("c5"));
  EQUAL(ledger.remember(std::string(65, 'x').c_str(), "{}"), -1);
  EQUAL(ledger.remember("x", std::string(192, 'x').c_str()), -1);
}

TEST(a_stored_result_that_is_damaged_is_none) {
  Ledger<16> ledger;
  const uint8_t nothing[] = {0, 0, 0, 0, 1, 'a'}, cut[] = {1, 0, 0, 0, 9, 'a'}, good[] = {1, 0, 0, 0, 1, 'a', '{', '}'};
  CHECK(!restore(ledger, 0, nothing, sizeof nothing));
  CHECK(!restore(ledger, 0, cut, sizeof cut));
  CHECK(!restore(ledger, 0, good, 4));
  CHECK(!restore(ledger, 16, good, sizeof good));
  CHECK(!restore(ledger, 0, good, STORED_RESULT_MOST + 1));
  CHECK(restore(ledger, 0, good, sizeof good) && ledger.find("a"));
}

TEST(what_is_wrong_with_a_relay_command_moves_nothing) {
  const struct {
    const char* payload;
    const char* error;
  } wrong[] = {
      {"{", "invalid_json"},
      {"[1]", "invalid_json"},
      {"{\"type\":\"ping\",\"type\":\"relay\"}", "invalid_json"},
      {"{\"type\":\"blink\"}", "unknown_type"},
      {"{\"type\":5}", "unknown_type"},
      {"{}", "unknown_type"},
      {"{\"type\":\"relay\",\"channel\":17,\"state\":true}", "invalid_channel"},
      {"{\"type\":\"relay\",\"channel\":0,\"state\":true}", "invalid_channel"},
      {"{\"type\":\"relay\",\"channel\":true,\"state\":true}", "invalid_channel"},
      {"{\"type\":\"relay\",\"channel\":\"1\",\"state\":true}", "invalid_channel"},
      {"{\"type\":\"relay\",\"channel\":1.0,\"state\":true}", "invalid_channel"},
      {"{\"type\":\"relay\",\"channel\":4294967297,\"state\":true}", "invalid_channel"},
      {"{\"type\":\"relay\",\"channel\":1,\"state\":1}", "invalid_state"},
      {"{\"type\":\"relay\",\"channel\":1}", "invalid_state"},
      {"{\"type\":\"relay\",\"channel\":1,\"state\":true,\"request_id\":\"\"}", "invalid_request_id"},
  };
  for (const auto& one : wrong) {
    const autocore::Command command = autocore::understand(one.payload, 16);
    CHECK(command.verb == autocore::Verb::refused);
    json::Message<128> out;
    refusal(out, command);
    EQUAL(std::string(out.c_str()), std::string("{\"type\":\"error\",\"error\":\"") + one.error + "\"}");
  }
}

TEST(relay_commands_are_answered_with_their_identifier) {
  autocore::Command command = autocore::understand(R"({"type":"relay","channel":3,"state":true,"request_id":"r","more":[1]})", 16);
  CHECK(command.verb == autocore::Verb::relay && command.channel == 3 && command.state);
  json::Message<160> out;
  switched(out, command);
  EQUAL(std::string(out.c_str()), R"({"type":"relay_response","channel":3,"state":true,"request_id":"r"})");
  command = autocore::understand(R"({"type":"ping","request_id":5})", 16);
  json::Message<160> pong;
  autocore::pong(pong, command, 734512);
  EQUAL(std::string(pong.c_str()), R"({"type":"pong","timestamp":734512,"request_id":5})");
  CHECK(autocore::understand(R"({"type":"status"})", 16).verb == autocore::Verb::status);
  EQUAL(autocore::held_channel(R"({"channel":4,"sequence":1})", 4), 4);
  EQUAL(autocore::held_channel(R"({"channel":5})", 4), 0);
  EQUAL(autocore::held_channel("{", 4), 0);
}

TEST(the_longest_identifier_and_its_answer_are_remembered) {
  const std::string id(COMMAND_ID_MOST, 'x');
  const std::string text = R"({"type":"relay","channel":32,"state":false,"request_id":")" + id + "\"}";
  const autocore::Command command = autocore::understand(text.c_str(), 32);
  CHECK(command.verb == autocore::Verb::relay);
  json::Message<ANSWER_MOST + 1> answer;
  switched(answer, command);
  CHECK(answer.ok());
  Ledger<2> ledger;
  CHECK(ledger.remember(command.id, answer.slice()) >= 0);
  CHECK(autocore::understand((text.substr(0, text.size() - 2) + "y\"}").c_str(), 32).verb == autocore::Verb::refused);
}

TEST(broker_settings_are_taken_whole_or_not_at_all) {
  autocore::Broker broker;
  CHECK(read_broker(R"({"broker":"10.0.0.2","port":1884,"username":"u","password":null,"topic_prefix":"p"})", broker));
  CHECK(broker.host.slice() == Slice("10.0.0.2") && broker.port == 1884 && broker.password.empty());
  CHECK(read_broker(R"({"broker_host":"h","broker_port":1,"more":{"x":[1]}})", broker) && broker.port == 1);
  CHECK(broker.prefix.slice() == Slice("autocore"));
  for (const char* bad : {"[]", "{}", R"({"broker":5})", R"({"broker":""})", R"({"broker":"h","port":"1"})", R"({"broker":"h","port":0})",
                          R"({"broker":"h","username":7})", R"({"broker":"h","topic_prefix":"a/#"})", R"({"broker":"h")"})
    CHECK(!read_broker(bad, broker));
}

struct Written {
  std::vector<std::pair<int, bool>>* moves;
  void operator()(int channel, bool on) { moves->push_back({channel, on}); }
};

TEST(relays_let_go_by_themselves) {
  std::vector<std::pair<int, bool>> moves;
  Relays<32, Written> relays(Written{&moves});
  const RelayKind kinds[] = {RelayKind::toggle, RelayKind::momentary, RelayKind::pulse};
  relays.begin(3, kinds, 500);
  EQUAL(moves.size(), 3u);
  moves.clear();
  for (int channel = 1; channel <= 3; channel++) CHECK(relays.command(channel, true, 1000));
  CHECK(!relays.command(4, true, 1000) && !relays.command(0, true, 1000) && !relays.is_on(4));
  EQUAL(relays.states(), 7u);
  CHECK(!relays.step(1499) && relays.step(1500));
  EQUAL(relays.states(), 3u);
  relays.held(2, 1900);
  CHECK(!relays.step(2899) && relays.step(2900));
  EQUAL(relays.states(), 1u);
  // A heartbeat that comes late switches nothing on again.
  relays.held(2, 2950);
  relays.held(1, 2950);
  CHECK(!relays.step(1000000));
  EQUAL(relays.states(), 1u);
  CHECK(relays.command(1, true, 1000000));
  EQUAL(moves.size(), 5u);
  // Off in time: nothing is left that would move it.
  relays.command(3, true, 2000000);
  relays.command(3, false, 2000100);
  CHECK(!relays.step(3000000));
}

TEST(hidrometro_15_firmware_arithmetic) {
  Flow flow;
  flow.begin(7.5, 815.25);
  flow.take(75, 1000);
  EQUAL(flow.flow_lmin(), 10.0);
  CHECK(fabs(flow.total_l() - 815.25 - 0.1667) < 0.0001);
  flow.take(75, 0);
  CHECK(fabs(flow.total_l() - 815.4167) < 0.0001);
  for (const double bad : {0.0, -1.0, 5e-324, 1e9, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    CHECK(!flow.calibrate(bad) && !flow.simulate(bad));
    Flow kept;
    kept.begin(bad, -bad);
    EQUAL(kept.factor(), 7.5);
    CHECK(kept.total_l() >= 0 && kept.total_l() < 1e12);
  }
  CHECK(flow.calibrate(15) && flow.simulate(6));
  flow.take(1000, 1000);
  EQUAL(flow.flow_lmin(), 6.0);
  flow.stop_simulating();
  flow.take(75, 1000);
  EQUAL(flow.flow_lmin(), 5.0);
}

TEST(a_meter_obeys_what_is_meant_for_it) {
  Flow flow;
  flow.begin(7.5, 100);
  using meter::Done;
  using meter::obey;
  CHECK(obey(flow, R"({"action":"setCalibration","value":7.2})", "HX1") == Done::keep && flow.factor() == 7.2);
  CHECK(obey(flow, R"({"action":"reset","numeroSerie":" hx1 "})", "HX1") == Done::keep && flow.total_l() == 0);
  CHECK(obey(flow, R"({"action":"simulate"})", "HX1") == Done::nothing_to_keep && flow.simulating());
  CHECK(obey(flow, R"({"action":"simOff","numeroSerie":null})", "HX1") == Done::nothing_to_keep && !flow.simulating());
  CHECK(obey(flow, R"({"action":"simSetFlow","value":2.5})", "HX1") == Done::nothing_to_keep);
  CHECK(obey(flow, R"({"action":"simulateOff"})", "HX1") == Done::nothing_to_keep);
  CHECK(obey(flow, R"({"action":"setCalibration","value":3,"numeroSerie":"HX2"})", "HX1") == Done::foreign);
  for (const char* bad : {"{", "[]", "{}", R"({"action":"format"})", R"({"action":"setCalibration"})", R"({"action":"setCalibration","value":0})",
                          R"({"action":"setCalibration","value":"7"})", R"({"action":"simulate","value":-1})", R"({"action":"simulate","value":true})",
                          R"({"action":"reset","numeroSerie":5})", R"({"action":5})", R"({"action":"setCalibration","value":NaN})"})
    CHECK(obey(flow, bad, "HX1") == Done::refused);
  EQUAL(flow.factor(), 7.2);
  CHECK(!flow.simulating());
}

TEST(a_reading_says_when_only_if_it_knows) {
  json::Message<160> out;
  meter::reading(out, 815.41666666, 4.6, "HX2041", 1767225600);
  EQUAL(std::string(out.c_str()), R"({"totalLiters":815.4167,"flowLmin":4.6,"numeroSerie":"HX2041","ts":1767225600})");
  json::Message<160> bare;
  meter::reading(bare, 0, 0, "", 0);
  EQUAL(std::string(bare.c_str()), R"({"totalLiters":0,"flowLmin":0})");
}

TEST(a_button_counts_once_a_press) {
  Button button;
  CHECK(!button.look(true, 100) && !button.look(true, 149) && button.look(true, 150) && !button.look(true, 900));
  CHECK(!button.look(false, 901) && !button.look(true, 902) && !button.look(false, 920) && !button.look(true, 921));
  CHECK(button.look(true, 971));
}

TEST(thingsnxt_15_retries_wait_one_two_and_four_seconds) {
  Pace pace;
  uint64_t now = 1000;
  for (const uint32_t wait : {1000u, 2000u, 4000u}) {
    pace.failed(Ask::poll, now, 0);
    CHECK(!pace.due(Ask::poll, now + wait - 1) && pace.due(Ask::poll, now + wait));
    now += wait;
  }
  // The fourth failure ends the cycle; the next ones lie further and further apart, up to a minute.
  uint32_t last = 4000;
  for (int cycle = 0; cycle < 8; cycle++) {
    for (int i = 0; i < (cycle ? 4 : 1); i++) pace.failed(Ask::poll, now, 0);
    const uint32_t wait = pace.interval(Ask::poll, now, 0);
    CHECK(wait > last || wait == 60000);
    CHECK(!pace.due(Ask::poll, now + wait - 1) && pace.due(Ask::poll, now + wait));
    EQUAL(pace.interval(Ask::poll, now, UINT32_MAX) <= 60000, true);
    last = wait;
    now += wait;
  }
  EQUAL(last, 60000u);
  pace.worked(Ask::poll, now);
  CHECK(!pace.due(Ask::poll, now + 3999) && pace.due(Ask::poll, now + 4000));
}

TEST(thingsnxt_15_too_many_requests_lengthen_both_intervals) {
  Pace pace;
  pace.too_many(Ask::poll, 0, 0);
  EQUAL(pace.interval(Ask::poll, 0, 0), 5000u);
  EQUAL(pace.interval(Ask::telemetry, 299999, 0), 15000u);
  EQUAL(pace.interval(Ask::telemetry, 300000, 0), 10000u);
  pace.too_many(Ask::telemetry, 1000, 20);
  EQUAL(pace.interval(Ask::poll, 20999, 0), 5000u);
  EQUAL(pace.interval(Ask::poll, 21000, 0), 4000u);
  CHECK(!pace.due(Ask::telemetry, 15999) && pace.due(Ask::telemetry, 16000));
}

static const Field FIELDS[] = {
    {"name", FieldKind::text, "", 0, 32, false},      {"user", FieldKind::text, nullptr, 0, 31, false},
    {"secret", FieldKind::secret, "", 0, 63, false},  {"port", FieldKind::whole, "1883", 1, 65535, false},
    {"known", FieldKind::flag, "false", 0, 0, false}, {"now", FieldKind::flag, "false", 0, 0, true},
};

TEST(settings_are_written_when_something_that_lasts_changed) {
  Settings<6> settings(FIELDS);
  settings.saved();
  CHECK(settings.put("name", "Pump") && settings.changed());
  settings.saved();
  CHECK(settings.put("name", "Pump") && settings.put("now", true) && !settings.changed());
  CHECK(settings.put("port", 8883L) && settings.put("secret", "s3") && settings.changed());
  for (const char* bad : {"0", "65536", "x", "", "-1", "1.5", "99999999999"}) CHECK(!settings.put("port", bad));
  CHECK(!settings.put("none", "x") && !settings.put("known", "yes") && !settings.put("name", "a\nb"));
  CHECK(!settings.put("name", std::string(33, 'x').c_str()));
  json::Message<256> open, secret;
  settings.write(open, false);
  settings.write(secret, true);
  EQUAL(std::string(open.c_str()), R"({"name":"Pump","user":null,"port":8883,"known":false})");
  EQUAL(std::string(secret.c_str()), R"({"secret":"s3"})");
  Settings<6> other(FIELDS);
  json::Document<16, 256> room;
  CHECK(other.read(open.slice(), room) && other.read(secret.slice(), room));
  CHECK(other.slice("name") == Slice("Pump") && other.number("port") == 8883 && other.slice("secret") == Slice("s3"));
}

TEST(damaged_settings_give_the_usual_ones) {
  Settings<6> settings(FIELDS);
  json::Document<16, 256> room;
  for (const char* bad : {"", "{", "[]", "{\"name\":\"x\"", "\xff"}) CHECK(!settings.read(bad, room));
  CHECK(settings.read(R"({"name":5,"port":"x","known":1,"user":null,"strange":1})", room));
  CHECK(settings.slice("name").empty() && settings.number("port") == 1883 && !settings.flag("known"));
}

TEST(lines_end_with_either_mark_and_long_ones_are_dropped) {
  LineReader<8> reader;
  std::vector<std::string> lines;
  for (const char letter : std::string("one\r\ntwo\n\nmuch too long a line\nlast\r"))
    if (reader.feed(letter)) lines.push_back(str(reader.line()));
  EQUAL(lines.size(), 4u);
  EQUAL(lines[0] + "|" + lines[1] + "|" + lines[2] + "|" + lines[3], "one|two||last");
}

struct Bench final : ConsoleHost, ProvisionHost {
  std::vector<std::string> said;
  std::vector<Provision> stored;
  std::string did;
  void say(const char* line) override { said.push_back(line); }
  const char* set(Slice name, Slice value) override {
    did += "set " + str(name) + "=" + str(value) + ";";
    return name == Slice("bad") ? "no" : nullptr;
  }
  bool store(const Provision& answers) override {
    stored.push_back(answers);
    return true;
  }
  void show() override { did += "show;"; }
  void status() override { did += "status;"; }
  void stats() override { did += "stats;"; }
  void debug(bool on) override { did += on ? "debug on;" : "debug off;"; }
  void restart() override { did += "restart;"; }
  void forget() override { did += "forget;"; }
  void reset() override { did += "reset;"; }
};

TEST(a_console_of_settings) {
  Bench bench;
  SettingsConsole console(bench);
  for (const char* line : {"wifi home my pass word", "SET backend_ip 10.0.0.2", "set bad x", "wifi", " status ", "Debug ON", "debug", "stats",
                           "show", "restart", "factory-reset", "", "what"})
    console.line(line);
  EQUAL(bench.did,
        "set wifi_ssid=home;set wifi_password=my pass word;set backend_ip=10.0.0.2;set bad=x;set wifi_ssid=;set wifi_password=;status;debug "
        "on;stats;show;restart;forget;");
  EQUAL(bench.said.back(), "Unknown command; type help");
}

const char* const ID = "6123456abcdef12345678901";
const char* const TOKEN = "f0e1d2c3b4a5968778695a4b3c2d1e0f";

TEST(thingsnxt_15_provisioning_asks_in_turn) {
  Bench bench;
  ProvisionConsole console(bench);
  for (const char* line : {"  PROVISION ", "6123456ABCDEF12345678901 ", TOKEN, "http://127.0.0.1:8000/", "", "pass"}) console.line(line);
  EQUAL(bench.said[0] + bench.said[1] + bench.said[2], "Device ID:Device Token:API URL:");
  EQUAL(bench.stored.size(), 1u);
  EQUAL(std::string(bench.stored[0].device_id.c_str()), ID);
  EQUAL(std::string(bench.stored[0].api_url.c_str()), "http://127.0.0.1:8000");
  for (const std::string& line : bench.said) CHECK(line.find(TOKEN) == std::string::npos);
  for (const char* line : {"Status", "stats", "debug on", "debug off", "RESET", "help"}) console.line(line);
  EQUAL(bench.did, "status;stats;debug on;debug off;reset;");
}

TEST(thingsnxt_15_nothing_is_stored_of_a_bad_answer) {
  const std::vector<std::vector<std::string>> wrong = {{"xyz"},
                                                       {std::string(24, 'g')},
                                                       {ID, ""},
                                                       {ID, "a b"},
                                                       {ID, std::string(129, 'x')},
                                                       {ID, TOKEN, "server"},
                                                       {ID, TOKEN, "ftp://x"},
                                                       {ID, TOKEN, "http://" + std::string(200, 'x')},
                                                       {ID, TOKEN, "http://h", std::string(33, 'x')},
                                                       {ID, TOKEN, "http://h", "n", std::string(64, 'x')}};
  for (const auto& answers : wrong) {
    Bench bench;
    ProvisionConsole console(bench);
    console.line("provision");
    for (const std::string& line : answers) console.line(line.c_str());
    CHECK(bench.stored.empty() && !console.asking());
    CHECK(bench.said.back().find("nothing was stored") != std::string::npos);
  }
}

int main() { return run_all(); }
