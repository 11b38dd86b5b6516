// Browsers may forbid storage (private windows, strict settings); a preference is never worth an error.
export function recall(key: string): string | null {
  try {
    return localStorage.getItem(`relevo.${key}`);
  } catch {
    return null;
  }
}

export function remember(key: string, value: string): void {
  try {
    localStorage.setItem(`relevo.${key}`, value);
  } catch {
    // See above.
  }
}

export function forget(key: string): void {
  try {
    localStorage.removeItem(`relevo.${key}`);
  } catch {
    // See above.
  }
}
