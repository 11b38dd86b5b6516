// Which amount an action takes, and what became of what was sent.
(function () {
  'use strict';
  var ASK_MS = 2000;
  var TAKES = { setCalibration: 'setCalibration', simulate: 'simulate' };
  var day = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: 'short', timeStyle: 'medium' });
  var form = document.getElementById('command');
  var sent = document.getElementById('sent');

  function times(root) {
    [].forEach.call(root.querySelectorAll('time[data-ms]'), function (one) {
      one.textContent = day.format(Number(one.dataset.ms));
    });
  }

  function amount() {
    var chosen = form.querySelector('[name=action]:checked');
    var kind = TAKES[chosen ? chosen.value : ''];
    var field = form.querySelector('.amount');
    field.hidden = !kind;
    field.dataset.for = kind || '';
    field.querySelector('input').required = kind === 'setCalibration';
    if (!kind) field.querySelector('input').value = '';
  }

  function look() {
    if (document.hidden) return;
    fetch('/control?part=sent').then(function (answer) {
      return answer.ok && !answer.redirected ? answer.text() : '';
    }).then(function (text) {
      if (!text) return;
      var fresh = document.createElement('div');
      fresh.innerHTML = text;
      times(fresh);
      // What has not changed is not read out again.
      if (fresh.innerHTML !== sent.innerHTML) sent.replaceChildren.apply(sent, fresh.childNodes);
    }, function () {});
  }

  times(document);
  if (form) {
    form.addEventListener('change', amount);
    amount();
  }
  if (sent) setInterval(look, ASK_MS);
})();
