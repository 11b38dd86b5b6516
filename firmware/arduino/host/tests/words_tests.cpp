// JSON, topics, commands and relays on a computer, under sanitizers.
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
      {"", json::Problem::syntax},
      {"{", json::Problem::syntax},
      {"{}x", json::Problem::trailing},
      {"[1,]", json::Problem::syntax},
      {"01", json::Problem::trailing},
      {"NaN", json::Problem::syntax},
      {"-Infinity", json::Problem::syntax},
      {"1e999", json::Problem::number},
      {"\"\\ud800\"", json::Problem::text},
      {"\"\\u0000\"", json::Problem::text},
      {"\"\xff\"", json::Problem::text},
      {"\"\xc0\xaf\"", json::Problem::text},
      {"{\"a\":1,\"\\u0061\":2}", json::Problem::duplicate},
      {"[[[[[[[[[1]]]]]]]]]", json::Problem::room},
      {"\"012345678901234567890123456789012\"", json::Problem::room},
      {"[1,2,3,4,5,6,7,8]", json::Problem::room},
      {"\"\n\"", json::Problem::syntax},
      {"+1", json::Problem::syntax},
      {"1.", json::Problem::syntax},
      {"'a'", json::Problem::syntax},
      {"\xef\xbb\xbf{}", json::Problem::syntax},
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
  for (const char* bad : {"", "a/b", "a+b", "a#", "a b", "0123456789012345678901234567890123456"})
    CHECK(!valid_uuid(bad));
  CHECK(valid_topic("hidrometro/3/5/dados") && !valid_topic("a/#") && !valid_topic("") && !valid_topic("a\nb"));
}

TEST(plain_http_is_for_private_addresses) {
  for (const char* host : {"127.0.0.1", "10.1.2.3", "172.16.0.1", "172.31.9.9", "192.168.4.1", "169.254.1.1"})
    CHECK(is_private(host));
  for (const char* host :
       {"8.8.8.8", "172.32.0.1", "example.org", "10.1.2.999", "10.1", "10.1.2.3.4", "", "10.1.2.", "1e1.1.1.1"})
    CHECK(!is_private(host));
  CHECK(may_be_asked("http://10.0.0.2:8000", false) && may_be_asked("https://example.org", false));
  CHECK(!may_be_asked("http://example.org", false) && may_be_asked("http://example.org", true));
  CHECK(!may_be_asked("http://10.0.0.2@evil.example", false) && !may_be_asked("ftp://10.0.0.2", true));
  Url url;
  CHECK(url.parse("HTTPS://host:8443/path") && url.secure && url.port == 8443 && url.host == Slice("host"));
  for (const char* bad : {"server", "http://", "http://:80", "http://h:0", "http://h:99999", "http://h x", "http:///p"})
    CHECK(!url.parse(bad));
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
  autocore::Command command =
      autocore::understand(R"({"type":"relay","channel":3,"state":true,"request_id":"r","more":[1]})", 16);
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
  for (const char* bad :
       {"[]", "{}", R"({"broker":5})", R"({"broker":""})", R"({"broker":"h","port":"1"})", R"({"broker":"h","port":0})",
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

int main() { return run_all(); }
