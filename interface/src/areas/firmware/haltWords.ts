// Why a roll-out stands still: the first page tells it as well, so that these few are apart.
import { area } from '../../words/area';

export const haltWords = area({
  en: {
    haltedBecause: (bad: string, all: string, share: string) => `${bad} of ${all} boards that came to an outcome failed: more than the ${share} % that were allowed.`,
    deadlinePassed: (n: string) => (n === '1' ? 'Its time ran out; 1 device did not get the release.' : `Its time ran out; ${n} devices did not get the release.`),
    beginnerGone: 'Whoever began it may not sign in any more, so the server paused it.',
    releaseGone: 'Its release is gone.',
  },
  es: {
    haltedBecause: (bad: string, all: string, share: string) => `Fallaron ${bad} de las ${all} placas que llegaron a un resultado: más del ${share} % permitido.`,
    deadlinePassed: (n: string) => (n === '1' ? 'Se agotó su plazo; 1 dispositivo no recibió la versión.' : `Se agotó su plazo; ${n} dispositivos no recibieron la versión.`),
    beginnerGone: 'Quien lo inició ya no puede entrar, así que el servidor lo puso en pausa.',
    releaseGone: 'Su versión ya no existe.',
  },
  pt: {
    haltedBecause: (bad: string, all: string, share: string) => `Falharam ${bad} das ${all} placas que chegaram a um resultado: mais que os ${share} % permitidos.`,
    deadlinePassed: (n: string) => (n === '1' ? 'O prazo acabou; 1 dispositivo não recebeu a versão.' : `O prazo acabou; ${n} dispositivos não receberam a versão.`),
    beginnerGone: 'Quem a iniciou não pode mais entrar, por isso o servidor a pausou.',
    releaseGone: 'A versão dela não existe mais.',
  },
});

/** Why a roll-out is as it is, from what the server noted. */
export function rolloutBecause(reason: string): string {
  const words = haltWords.words;
  const halted = /^(\d+) of (\d+) failed, more than (\d+) %$/.exec(reason);
  if (halted) return words.haltedBecause(halted[1]!, halted[2]!, halted[3]!);
  const passed = /^the deadline passed for (\d+) devices$/.exec(reason);
  if (passed) return words.deadlinePassed(passed[1]!);
  if (reason === 'whoever made it may not sign in any more') return words.beginnerGone;
  if (reason === 'its release is gone') return words.releaseGone;
  return reason;
}
