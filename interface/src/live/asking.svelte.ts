export interface Question {
  title: string;
  text?: string;
  /** What the button that does it says. */
  action: string;
  /** It cannot be taken back. */
  danger?: boolean;
  /** Has to be typed before the button works. */
  typed?: string;
}

class Asking {
  question: Question | null = $state.raw(null);
  private answer: (yes: boolean) => void = () => {};

  /** Whether the person said yes. */
  ask(question: Question): Promise<boolean> {
    this.answer(false);
    this.question = question;
    return new Promise((resolve) => (this.answer = resolve));
  }

  settle(yes: boolean): void {
    this.question = null;
    this.answer(yes);
    this.answer = () => {};
  }
}

const asking = new Asking();
export const ask = (question: Question): Promise<boolean> => asking.ask(question);
export { asking };
