// Live litres and flow. Socket.IO brings them; while it is away, /api/current is asked every five seconds.
(function () {
  'use strict';
  var KEPT = 200;
  var POLL_MS = 5000;
  var WIDTH = 640;
  var HEIGHT = 200;
  var language = document.documentElement.lang;
  var number = new Intl.NumberFormat(language, { maximumFractionDigits: 2 });
  var clock = new Intl.DateTimeFormat(language, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
  var day = new Intl.DateTimeFormat(language, { dateStyle: 'short', timeStyle: 'short' });
  var at = function (id) { return document.getElementById(id); };
  var state = at('state');
  var choice = at('serial');
  var list = at('alerts');
  var readings = [];
  var polling = 0;
  var shown = 0;

  function show(name) {
    state.className = 'state ' + name;
    state.lastElementChild.textContent = state.dataset[name];
  }

  function when(ms) {
    return (Date.now() - ms < 43200000 ? clock : day).format(ms);
  }

  function draw() {
    var top = Math.max(1, ...readings.map(function (one) { return one.flowLmin; })) * 1.1;
    var first = readings.length ? readings[0].ts : 0;
    var span = readings.length ? Math.max(1, readings[readings.length - 1].ts - first) : 1;
    var points = readings.map(function (one) {
      return ((one.ts - first) / span * WIDTH).toFixed(1) + ' ' + (HEIGHT - one.flowLmin / top * HEIGHT).toFixed(1);
    });
    var line = points.length > 1 ? 'M' + points.join('L') : '';
    var chart = at('chart');
    chart.querySelector('.line').setAttribute('d', line);
    chart.querySelector('.area').setAttribute('d', line && line + 'V' + HEIGHT + 'H0Z');
    at('from').textContent = readings.length > 1 ? when(first) : '';
    at('until').textContent = readings.length > 1 ? when(first + span) : '';
    at('top').textContent = readings.length ? 'max ' + number.format(top / 1.1) : '';
    at('count').textContent = readings.length > 1 ? at('count').dataset.text.replace('{n}', readings.length) : '';
  }

  function put(reading) {
    // An answer may come later than what was told meanwhile.
    if (reading.ts < shown) return;
    shown = reading.ts;
    at('nothing').hidden = true;
    at('total').textContent = number.format(reading.totalLiters);
    at('flow').textContent = number.format(reading.flowLmin);
    at('whose').textContent = reading.numero_serie || choice.dataset.none;
    at('when').textContent = when(reading.ts);
    at('when').dateTime = new Date(reading.ts).toISOString();
  }

  function fits(reading) {
    return !choice.value || reading.numero_serie === choice.value;
  }

  function know(serial) {
    var known = [].some.call(choice.options, function (one) { return one.value === serial; });
    if (serial && !known) choice.add(new Option(serial, serial));
  }

  function take(reading) {
    know(reading.numero_serie);
    if (!fits(reading)) return;
    put(reading);
    add(reading);
    draw();
  }

  function add(reading) {
    var last = readings[readings.length - 1];
    // A reconnection says the current one again; a back-log is older than what is drawn.
    if (last && (reading.ts < last.ts || (reading.ts === last.ts && reading.totalLiters === last.totalLiters))) return;
    readings.push({ ts: reading.ts, flowLmin: reading.flowLmin, totalLiters: reading.totalLiters });
    if (readings.length > KEPT) readings.shift();
  }

  function fill(history) {
    var meanwhile = readings;
    readings = history.slice(-KEPT).sort(function (a, b) { return a.ts - b.ts; });
    meanwhile.forEach(add);
    draw();
  }

  function get(path) {
    return fetch(path, { headers: { Accept: 'application/json' } }).then(function (answer) {
      if (answer.status === 401) location.assign('/login?next=/dashboard');
      if (!answer.ok) throw new Error(String(answer.status));
      return answer.json();
    });
  }

  function query(path) {
    return path + (choice.value ? (path.indexOf('?') < 0 ? '?' : '&') + 'numeroSerie=' + encodeURIComponent(choice.value) : '');
  }

  function ask() {
    return get(query('/api/current')).then(
      function (reading) {
        if (polling) show('polling');
        if (reading.ts) take(reading);
      },
      function () { if (polling) show('away'); }
    );
  }

  function poll(on) {
    if (on && !polling) {
      polling = setInterval(ask, POLL_MS);
      show('polling');
      ask();
    } else if (!on && polling) {
      clearInterval(polling);
      polling = 0;
    }
  }

  function choose() {
    var wanted = choice.value;
    shown = 0;
    readings = [];
    get(query('/api/history?limit=' + KEPT)).then(function (answer) {
      if (choice.value === wanted) fill(answer.history);
    }, function () {});
    get(query('/api/current')).then(function (reading) {
      if (choice.value === wanted && reading.ts) put(reading);
    }, function () {});
  }

  // Alerts

  function count() {
    at('open').textContent = list.children.length;
    at('open').hidden = !list.children.length;
    at('no-alerts').hidden = list.children.length > 0;
  }

  function listed(id) {
    return [].find.call(list.children, function (one) { return one.dataset.id === String(id); });
  }

  function told(serial, flow, duration) {
    var parts = { serial: serial || list.dataset.none, flow: number.format(flow), duration: Math.round(duration) };
    return list.dataset.text.replace(/\{(\w+)\}/g, function (_, name) { return parts[name]; });
  }

  // What was asked for before it was resolved may come after.
  var resolved = {};

  function raise(id, message, ms) {
    if (listed(id) || resolved[id]) return;
    var item = document.createElement('li');
    item.dataset.id = id;
    var what = document.createElement('span');
    what.className = 'what';
    what.textContent = message;
    var time = document.createElement('time');
    time.textContent = when(ms);
    var button = document.createElement('button');
    button.type = 'button';
    button.className = 'tonal';
    button.textContent = list.dataset.resolve;
    item.append(what, time, button);
    list.prepend(item);
    count();
  }

  function catchUp() {
    get('/api/alerts?unresolved=1&limit=20').then(function (answer) {
      list.replaceChildren();
      answer.alerts.reverse().forEach(function (one) { raise(one.id, told(one.serial, one.flow_lmin, one.duration_seconds), one.detected_at); });
      count();
    }, function () {});
  }

  list.addEventListener('click', function (event) {
    var button = event.target.closest('button');
    if (!button) return;
    var item = button.parentElement;
    button.disabled = true;
    fetch('/api/alerts/' + encodeURIComponent(item.dataset.id) + '/resolve', { method: 'POST' }).then(function (answer) {
      if (!answer.ok) throw new Error(String(answer.status));
      resolved[item.dataset.id] = true;
      var again = listed(item.dataset.id);
      if (again) again.remove();
      count();
    }).catch(function () {
      button.disabled = false;
      button.textContent = list.dataset.failed;
    });
  });

  // Until here a click would have been lost.
  [].forEach.call(list.querySelectorAll('button'), function (one) { one.disabled = false; });
  [].forEach.call(document.querySelectorAll('time[data-ms]'), function (one) {
    one.textContent = when(Number(one.dataset.ms));
  });
  for (var n = 0; n < 3; n++) {
    var rule = document.createElementNS('http://www.w3.org/2000/svg', 'line');
    rule.setAttribute('x2', WIDTH);
    rule.setAttribute('y1', HEIGHT * n / 2);
    rule.setAttribute('y2', HEIGHT * n / 2);
    if (n === 2) rule.setAttribute('class', 'limit');
    at('chart').querySelector('.grid').append(rule);
  }
  count();
  draw();
  choice.addEventListener('change', choose);
  if (choice.value) choose();

  if (typeof io !== 'function') {
    poll(true);
    choose();
    return;
  }
  var socket = io({ path: '/socket.io/' });
  socket.on('history:init', function (history) {
    if (choice.value) choose();
    else fill(history);
  });
  socket.on('data', take);
  socket.on('alert', function (alert) { raise(alert.id, told(alert.serial, alert.flowLmin, alert.duration), alert.ts); });
  socket.on('connect', function () {
    poll(false);
    show('live');
    catchUp();
  });
  socket.on('disconnect', function (reason) {
    poll(true);
    // Told by the server, the client would not come back by itself.
    if (reason === 'io server disconnect') setTimeout(function () { socket.connect(); }, POLL_MS);
  });
  socket.on('connect_error', function () { poll(true); });
})();
