// Documents in, one a line in hexadecimal; out comes what was read, written again, or `!` and what is wrong.
#include <RelevoCore.h>

#include <iostream>
#include <string>

using namespace relevo;

static void again(json::Writer& out, json::Value value) {
  bool flag = false;
  int64_t whole = 0;
  double number = 0;
  Slice text;
  if (value.is_null()) out.null();
  else if (value.read(flag)) out.boolean(flag);
  else if (value.read(whole)) out.integer(whole);
  else if (value.read(number)) out.number(number);
  else if (value.read(text)) out.text(text);
  else if (value.is_list()) {
    out.begin_list();
    for (json::Value one = value.first(); one.exists(); one = one.next()) again(out, one);
    out.end_list();
  } else {
    out.begin_object();
    for (json::Value one = value.first(); one.exists(); one = one.next()) again(out.key(one.key()), one);
    out.end_object();
  }
}

static std::string bytes_of(const std::string& digits) {
  std::string bytes;
  for (size_t i = 0; i + 1 < digits.size(); i += 2)
    bytes += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
  return bytes;
}

// Commands: `r` a relay board's, `m` a meter's; out comes what was understood.
static void command(char whose, const std::string& payload) {
  const Slice text(payload.data(), payload.size());
  if (whose == 'm') {
    Flow flow;
    flow.begin(7.5, 50);
    std::cout << static_cast<int>(meter::obey(flow, text, "HX1")) << " " << flow.factor() << " " << flow.total_l()
              << std::endl;
    return;
  }
  const autocore::Command found = autocore::understand(text, 16);
  std::cout << static_cast<int>(found.verb) << " " << found.channel << " " << found.state << " " << found.error
            << std::endl;
}

int main() {
  static json::Document<2048, 32768> document;
  static json::Message<262144> out;
  std::string line;
  while (std::getline(std::cin, line)) {
    // Exactly as many bytes as there are, on the heap: a look beyond them is found.
    const std::string found = bytes_of(line.substr(1));
    if (line[0] != 'j') {
      command(line[0], found);
      continue;
    }
    char* copy = new char[found.size()];
    memcpy(copy, found.data(), found.size());
    const json::Problem problem = document.parse(Slice(copy, found.size()));
    delete[] copy;
    if (problem != json::Problem::none) {
      std::cout << "!" << name_of(problem) << std::endl;
      continue;
    }
    json::Writer writer(const_cast<char*>(out.c_str()), 262144);
    again(writer, document.root());
    std::cout << (writer.ok() ? writer.c_str() : "!room") << std::endl;
  }
  return 0;
}
