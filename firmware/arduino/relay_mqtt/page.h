// The board's own page (contract autocore, section 7): anybody in the network sees how it is, who knows the board's
// password changes it. Passwords go in and never come out.
#pragma once

#include <WebServer.h>

#include "board.h"

class Page {
 public:
  explicit Page(Board& board) : board_(board) {}

  void begin() {
    token_.format("%08lx%08lx", static_cast<unsigned long>(esp_random()), static_cast<unsigned long>(esp_random()));
    server_.on("/", HTTP_GET, [this] { show(200, ""); });
    server_.on("/api/status", HTTP_GET, [this] { tell(); });
    server_.on("/config", HTTP_POST, [this] { change(); });
    server_.on("/restart", HTTP_POST, [this] { restart(false); });
    server_.on("/reboot", HTTP_POST, [this] { restart(false); });
    server_.on("/reset", HTTP_POST, [this] { restart(true); });
    server_.onNotFound([this] { server_.send(404, "text/plain", "not found"); });
    server_.begin();
  }
  void serve_one() { server_.handleClient(); }

 private:
  // The password, and a mark that only our own page knows: a foreign page cannot send it.
  bool allowed() {
    if (!server_.authenticate("admin", board_.settings.get("page_password"))) {
      server_.requestAuthentication();
      return false;
    }
    if (server_.arg("token") == token_.c_str()) return true;
    server_.send(403, "text/plain", "the form is out of date: load the page again");
    return false;
  }

  void change() {
    if (!allowed()) return;
    static constexpr const char* FORM[] = {"wifi_ssid", "wifi_password", "backend_ip", "backend_port", "device_name"};
    const BoardSettings before = board_.settings;
    for (const char* name : FORM) {
      if (!server_.hasArg(name)) continue;
      const String value = server_.arg(name);
      // An empty password leaves the one that is there.
      if (value.isEmpty() && strcmp(name, "wifi_password") == 0) continue;
      if (board_.settings.put(name, value.c_str())) continue;
      for (const char* changed : FORM) board_.settings.put(changed, before.get(changed));
      relevo::Text<64> note;
      note.format("Not saved: %s", name);
      return show(400, note.c_str());
    }
    show(200, "Saved; restart to use it.");
  }

  void restart(bool forget) {
    if (!allowed()) return;
    server_.send(200, "text/plain", forget ? "everything is forgotten" : "restarting");
    if (forget) board_.store.forget();
    ESP.restart();
  }

  void tell() {
    static relevo::json::Message<1024> text;
    relevo::json::Writer out(const_cast<char*>(text.c_str()), 1024);
    const auto who = board_.identity();
    const auto now = board_.condition();
    out.begin_object()
        .member("uuid", who.uuid)
        .member("device_name", who.name)
        .member("firmware_version", who.firmware);
    out.member("state", name_of(board_.state())).member("uptime", now.uptime_s).member("wifi_rssi", now.rssi_dbm);
    out.member("free_memory", now.free_bytes).member("ip_address", who.ip);
    out.member("mqtt_connected", board_.settings.flag("mqtt_connected"))
        .member("mqtt_broker", board_.settings.get("mqtt_broker"));
    out.member("backend_registered", board_.settings.flag("backend_registered")).key("relays").begin_list();
    for (int i = 0; i < who.channels; i++) out.integer(now.relays >> i & 1);
    out.end_list().end_object();
    server_.send(200, "application/json", out.c_str());
  }

  void show(int status, const char* note) {
    html_.clear();
    html_.append(
        "<!doctype html><html><head><meta charset=utf-8><meta name=viewport content='width=device-width'><title>");
    escaped("device_name");
    html_.append("</title></head><body><h1>");
    escaped("device_name");
    html_.append("</h1><p>UUID: ");
    escaped("device_uuid");
    html_.append("</p><p>MQTT: ");
    if (board_.settings.flag("mqtt_connected")) {
      html_.append("connected (");
      escaped("mqtt_broker");
      html_.append(":");
      escaped("mqtt_port");
      html_.append(")");
    } else {
      html_.append("disconnected");
    }
    html_.append("</p><p>");
    html_.append(note);
    html_.append("</p><form method=post action=/config>");
    mark();
    field("WiFi", "wifi_ssid");
    html_.append("<p><label>Password <input name=wifi_password type=password placeholder=unchanged></label></p>");
    field("Backend", "backend_ip");
    field("Port", "backend_port");
    field("Name", "device_name");
    html_.append("<button>Save</button></form><form method=post action=/restart>");
    mark();
    html_.append("<button>Restart</button></form><form method=post action=/reset>");
    mark();
    html_.append("<button>Forget everything</button></form></body></html>");
    server_.sendHeader("Cache-Control", "no-store");
    server_.sendHeader("X-Frame-Options", "DENY");
    server_.send(status, "text/html; charset=utf-8", html_.c_str());
  }

  void mark() {
    html_.append("<input type=hidden name=token value=");
    html_.append(token_);
    html_.append(">");
  }
  void field(const char* label, const char* name) {
    html_.append("<p><label>");
    html_.append(label);
    html_.append(" <input name=");
    html_.append(name);
    html_.append(" value='");
    escaped(name);
    html_.append("'></label></p>");
  }
  void escaped(const char* name) {
    const relevo::Slice value = board_.settings.slice(name);
    for (size_t i = 0; i < value.size; i++) {
      const char letter = value.data[i];
      if (letter == '&') html_.append("&amp;");
      else if (letter == '<') html_.append("&lt;");
      else if (letter == '>') html_.append("&gt;");
      else if (letter == '\'') html_.append("&#39;");
      else if (letter == '"') html_.append("&quot;");
      else html_.append(relevo::Slice(&letter, 1));
    }
  }

  Board& board_;
  WebServer server_{80};
  relevo::Text<16> token_;
  relevo::Text<4096> html_;
};
