// A chart as a picture that one can send to somebody: what it shows, in which time, in which colours.

export interface Legend {
  colour: string;
  text: string;
  dashed: boolean;
}

interface Colours {
  ground: string;
  text: string;
  soft: string;
}

const FONT = '-apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';
const MARGIN = 16;
const TITLE = 20;
const LINE = 20;

/** Breaks the legend into lines of at most `width` pixels. */
function lines(ctx: CanvasRenderingContext2D, legend: readonly Legend[], width: number): Legend[][] {
  const rows: Legend[][] = [[]];
  let used = 0;
  for (const one of legend) {
    const needs = ctx.measureText(one.text).width + 44;
    if (used + needs > width && rows.at(-1)!.length) {
      rows.push([]);
      used = 0;
    }
    rows.at(-1)!.push(one);
    used += needs;
  }
  return rows;
}

/** The drawn chart with its title above and its time below; `scale` is how many pixels of it are one on the screen. */
export function picture(chart: HTMLCanvasElement, scale: number, title: string, legend: readonly Legend[], time: string, colours: Colours): Promise<Blob | null> {
  const width = chart.width / scale + 2 * MARGIN;
  const canvas = document.createElement('canvas');
  const ctx = canvas.getContext('2d')!;
  ctx.font = `13px ${FONT}`;
  const rows = lines(ctx, legend, width - 2 * MARGIN);
  const top = MARGIN + TITLE + 8 + rows.length * LINE + 8;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round((top + LINE + MARGIN) * scale + chart.height);
  ctx.scale(scale, scale);
  ctx.fillStyle = colours.ground;
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.textBaseline = 'middle';
  ctx.fillStyle = colours.text;
  ctx.font = `600 16px ${FONT}`;
  ctx.fillText(title, MARGIN, MARGIN + TITLE / 2, width - 2 * MARGIN);
  ctx.font = `13px ${FONT}`;
  for (const [row, list] of rows.entries()) {
    let x = MARGIN;
    const y = MARGIN + TITLE + 8 + LINE * row + LINE / 2;
    for (const one of list) {
      ctx.strokeStyle = one.colour;
      ctx.lineWidth = 3;
      ctx.setLineDash(one.dashed ? [4, 3] : []);
      ctx.beginPath();
      ctx.moveTo(x, y);
      ctx.lineTo(x + 16, y);
      ctx.stroke();
      ctx.fillText(one.text, x + 22, y);
      x += ctx.measureText(one.text).width + 44;
    }
  }
  ctx.drawImage(chart, MARGIN, top, chart.width / scale, chart.height / scale);
  ctx.fillStyle = colours.soft;
  ctx.fillText(time, MARGIN, top + chart.height / scale + LINE / 2, width - 2 * MARGIN);
  return new Promise((done) => canvas.toBlob(done, 'image/png'));
}

export function save(blob: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
