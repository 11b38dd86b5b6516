// Flow, pace, settings and consoles on a computer, under sanitizers.
#include <RelevoCore.h>

#include <limits>

#include "check.h"

using namespace relevo;

TEST(hidrometro_15_firmware_arithmetic) {
  Flow flow;
  flow.begin(7.5, 815.25);
  flow.take(75, 1000);
  EQUAL(flow.flow_lmin(), 10.0);
  CHECK(fabs(flow.total_l() - 815.25 - 0.1667) < 0.0001);
  flow.take(75, 0);
  CHECK(fabs(flow.total_l() - 815.4167) < 0.0001);
  for (const double bad :
       {0.0, -1.0, 5e-324, 1e9, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
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
  for (const char* bad :
       {"{", "[]", "{}", R"({"action":"format"})", R"({"action":"setCalibration"})",
        R"({"action":"setCalibration","value":0})", R"({"action":"setCalibration","value":"7"})",
        R"({"action":"simulate","value":-1})", R"({"action":"simulate","value":true})",
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
  for (const char* line : {"wifi home my pass word", "SET backend_ip 10.0.0.2", "set bad x", "wifi", " status ",
                           "Debug ON", "debug", "stats", "show", "restart", "factory-reset", "", "what"})
    console.line(line);
  EQUAL(bench.did,
        "set wifi_ssid=home;set wifi_password=my pass word;set backend_ip=10.0.0.2;set bad=x;set wifi_ssid=;set "
        "wifi_password=;status;debug "
        "on;stats;show;restart;forget;");
  EQUAL(bench.said.back(), "Unknown command; type help");
}

const char* const ID = "6123456abcdef12345678901";
const char* const TOKEN = "f0e1d2c3b4a5968778695a4b3c2d1e0f";

TEST(thingsnxt_15_provisioning_asks_in_turn) {
  Bench bench;
  ProvisionConsole console(bench);
  for (const char* line : {"  PROVISION ", "6123456ABCDEF12345678901 ", TOKEN, "http://127.0.0.1:8000/", "", "pass"})
    console.line(line);
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
