// How roll-outs and boards in them are spoken of: on the pages of firmware and on a device's own.
import { area } from '../../words/area';

export const stateWords = area({
  en: {
    states: {
      waiting: 'waiting',
      offered: 'offered',
      downloading: 'downloading',
      trial: 'on trial',
      updated: 'updated',
      failed: 'failed',
      rolled_back: 'rolled back',
      refused: 'refused',
      timed_out: 'no answer',
      skipped: 'left out',
      cancelled: 'cancelled',
    },
    rolloutStates: { running: 'Running', paused: 'Paused', halted: 'Halted', done: 'Over', cancelled: 'Cancelled' },
    downloaded: (percent: string) => `${percent} % on the board`,
    refusedBecause: {
      signature: 'The signature of the offer does not fit its key.',
      device: 'The offer was meant for another device.',
      board: 'The release is for other boards.',
      boot: 'Its launcher is too old to start this release.',
      mpy: 'The byte code of the release is not its own.',
      issued: 'The offer is older than what it installed last.',
      space: 'There is not enough room on its flash.',
      busy: 'It was busy and could not take it.',
    },
    failedBecause: {
      hash: 'What arrived is not what was sent: the check sum differs.',
      size: 'What arrived has another size than promised.',
      network: 'The network broke off during the download.',
      flash: 'The flash of the board could not be written.',
      image: 'The image could not be unpacked.',
    },
    backBecause: {
      tries: 'The new firmware did not come up in three starts.',
      not_healthy: 'The new firmware started but did not become healthy within its trial.',
    },
    crashed: (text: string) => `The new firmware crashed: ${text}`,
    silentBecause: {
      silent: 'It was online but said nothing more about the update.',
      deadline: 'The time of the roll-out ran out before it had the release.',
    },
    skippedBecause: {
      unknown_board: 'It never said which board it is; it joins in as soon as it does.',
      other_board: 'The release is for other boards.',
      boot: 'Its launcher is too old to start this release.',
      mpy: 'The byte code of the release is not its own.',
      current: 'It runs this version already.',
      newer: 'It runs a newer version.',
      busy: 'Another roll-out has it at the moment.',
      not_allowed: 'Whoever began the roll-out may not control it any more.',
    },
    runsIt: 'It says that it runs the release.',
  },
  es: {
    states: {
      waiting: 'en espera',
      offered: 'ofrecido',
      downloading: 'descargando',
      trial: 'a prueba',
      updated: 'actualizado',
      failed: 'falló',
      rolled_back: 'volvió atrás',
      refused: 'rechazado',
      timed_out: 'sin respuesta',
      skipped: 'excluido',
      cancelled: 'cancelado',
    },
    rolloutStates: { running: 'En curso', paused: 'En pausa', halted: 'Detenido', done: 'Terminado', cancelled: 'Cancelado' },
    downloaded: (percent: string) => `${percent} % en la placa`,
    refusedBecause: {
      signature: 'La firma de la oferta no corresponde a su clave.',
      device: 'La oferta era para otro dispositivo.',
      board: 'La versión es para otras placas.',
      boot: 'Su arrancador es demasiado antiguo para iniciar esta versión.',
      mpy: 'El código de bytes de la versión no es el suyo.',
      issued: 'La oferta es más antigua que lo último que instaló.',
      space: 'No hay suficiente espacio en su memoria flash.',
      busy: 'Estaba ocupado y no pudo aceptarla.',
    },
    failedBecause: {
      hash: 'Lo que llegó no es lo que se envió: la suma de verificación es distinta.',
      size: 'Lo que llegó tiene otro tamaño que el prometido.',
      network: 'La red se cortó durante la descarga.',
      flash: 'No se pudo escribir en la memoria flash de la placa.',
      image: 'No se pudo desempaquetar la imagen.',
    },
    backBecause: {
      tries: 'El firmware nuevo no arrancó en tres intentos.',
      not_healthy: 'El firmware nuevo arrancó, pero no llegó a funcionar bien durante su prueba.',
    },
    crashed: (text: string) => `El firmware nuevo se cayó: ${text}`,
    silentBecause: {
      silent: 'Estaba en línea, pero no dijo nada más sobre la actualización.',
      deadline: 'El plazo del despliegue terminó antes de que recibiera la versión.',
    },
    skippedBecause: {
      unknown_board: 'Nunca dijo qué placa es; se incorpora en cuanto lo diga.',
      other_board: 'La versión es para otras placas.',
      boot: 'Su arrancador es demasiado antiguo para iniciar esta versión.',
      mpy: 'El código de bytes de la versión no es el suyo.',
      current: 'Ya tiene esta versión.',
      newer: 'Tiene una versión más nueva.',
      busy: 'Otro despliegue lo tiene en este momento.',
      not_allowed: 'Quien inició el despliegue ya no puede controlarlo.',
    },
    runsIt: 'Dice que ya tiene la versión.',
  },
  pt: {
    states: {
      waiting: 'aguardando',
      offered: 'oferecida',
      downloading: 'baixando',
      trial: 'em teste',
      updated: 'atualizada',
      failed: 'falhou',
      rolled_back: 'voltou atrás',
      refused: 'recusou',
      timed_out: 'sem resposta',
      skipped: 'fora',
      cancelled: 'cancelada',
    },
    rolloutStates: { running: 'Em andamento', paused: 'Em pausa', halted: 'Interrompida', done: 'Terminada', cancelled: 'Cancelada' },
    downloaded: (percent: string) => `${percent} % já na placa`,
    refusedBecause: {
      signature: 'A assinatura da oferta não corresponde à sua chave.',
      device: 'A oferta era para outro dispositivo.',
      board: 'A versão é para outras placas.',
      boot: 'Seu inicializador é antigo demais para iniciar esta versão.',
      mpy: 'O código de bytes da versão não é o dele.',
      issued: 'A oferta é mais antiga do que a última que ele instalou.',
      space: 'Não há espaço suficiente em sua memória flash.',
      busy: 'Estava ocupado e não pôde aceitá-la.',
    },
    failedBecause: {
      hash: 'O que chegou não é o que foi enviado: a soma de verificação é outra.',
      size: 'O que chegou tem outro tamanho que o prometido.',
      network: 'A rede caiu durante o download.',
      flash: 'Não foi possível gravar na memória flash da placa.',
      image: 'Não foi possível desempacotar a imagem.',
    },
    backBecause: {
      tries: 'O firmware novo não subiu em três tentativas.',
      not_healthy: 'O firmware novo iniciou, mas não chegou a funcionar bem durante o teste.',
    },
    crashed: (text: string) => `O firmware novo travou: ${text}`,
    silentBecause: {
      silent: 'Estava on-line, mas não disse mais nada sobre a atualização.',
      deadline: 'O prazo da implantação acabou antes que ele recebesse a versão.',
    },
    skippedBecause: {
      unknown_board: 'Nunca disse que placa é; entra assim que disser.',
      other_board: 'A versão é para outras placas.',
      boot: 'Seu inicializador é antigo demais para iniciar esta versão.',
      mpy: 'O código de bytes da versão não é o dele.',
      current: 'Já roda esta versão.',
      newer: 'Roda uma versão mais nova.',
      busy: 'Outra implantação está com ele neste momento.',
      not_allowed: 'Quem iniciou a implantação não pode mais controlá-lo.',
    },
    runsIt: 'Diz que já roda a versão.',
  },
});
export type StateWords = (typeof stateWords)['words'];

const own = (table: Record<string, string>, code: string): string => (Object.hasOwn(table, code) ? table[code]! : '');

/** Why a board is in its state, as a sentence; a reason that is not known here is told as the board said it. */
export function becauseOf(words: StateWords, state: string, reason: string): string {
  if (!reason) return '';
  if (reason === 'it runs it') return words.runsIt;
  const crash = /^crash:\s*(.*)$/s.exec(reason);
  if (crash) return words.crashed(crash[1]!);
  const tables: Record<string, Record<string, string>> = {
    refused: words.refusedBecause,
    failed: words.failedBecause,
    rolled_back: words.backBecause,
    timed_out: words.silentBecause,
    skipped: words.skippedBecause,
  };
  return own(tables[state] ?? {}, reason) || reason;
}
