// Ages are told by the server's clock: a tablet that is four minutes off must not call every device late.
// The Date header has a resolution of one second, so differences below two seconds count as none.
const TOLERANCE_MS = 2000;

class Clock {
  private offset = 0;
  now: number = $state(Date.now());

  start(): void {
    setInterval(() => {
      this.now = this.read();
    }, 1000);
  }

  read(): number {
    return Date.now() + this.offset;
  }

  observe(dateHeader: string | null): void {
    const server = dateHeader ? Date.parse(dateHeader) : NaN;
    if (Number.isNaN(server)) return;
    const difference = server - Date.now();
    this.offset = Math.abs(difference) > TOLERANCE_MS ? difference : 0;
  }
}

export const clock = new Clock();
