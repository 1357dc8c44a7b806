import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { CommandIo } from '../../src/cli/terminal/io.ts';
import { Progress } from '../../src/cli/terminal/progress.ts';

/** A terminal that remembers what standard error showed. */
function terminal(errIsTerminal: boolean): { io: CommandIo; shown: string[] } {
  const shown: string[] = [];
  const io: CommandIo = {
    out: () => Promise.resolve(),
    giveUp: () => {},
    err: (text) => void shown.push(text),
    outIsTerminal: false,
    errIsTerminal,
    columns: 20,
    colours: false,
  };
  return { io, shown };
}

describe('progress', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test('short work shows nothing', () => {
    const { io, shown } = terminal(true);
    const progress = new Progress(io);

    vi.advanceTimersByTime(100);
    progress.update(() => 'working');
    progress.clear();

    expect(shown).toEqual([]);
  });

  test('long work shows one line that is taken away', () => {
    const { io, shown } = terminal(true);
    const progress = new Progress(io);

    vi.advanceTimersByTime(1000);
    progress.update(() => 'half');
    progress.update(() => 'too soon after it');
    vi.advanceTimersByTime(1000);
    progress.update(() => 'nearly done, and longer than the line');
    progress.clear();
    progress.clear();

    expect(shown).toEqual(['\r\x1b[Khalf', '\r\x1b[Knearly done, and lo', '\r\x1b[K']);
  });

  test('nothing where standard error is no terminal', () => {
    const { io, shown } = terminal(false);
    const progress = new Progress(io);

    vi.advanceTimersByTime(1000);
    progress.update(() => 'half');
    progress.clear();

    expect(shown).toEqual([]);
  });
});
