import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { readLines } from '../../src/cli/serve/controls.ts';
import { tellUnsealed } from '../../src/cli/serve/tell-unsealed.ts';
import { DenseRamBlock, DeviceRegion } from '../../src/memory/index.ts';
import type { Descriptor, SharedFiles } from '../../src/vfio-user/index.ts';
import { FakeFiles } from '../vfio-user/memory-channel.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Standard input of a test, and the lines that were heard of it. */
function input(hear: (line: string) => Promise<void> = () => Promise.resolve()): {
  stream: PassThrough;
  heard: string[];
  stop: () => void;
} {
  const stream = new PassThrough();
  const heard: string[] = [];
  const stop = readLines(stream as unknown as NodeJS.ReadStream, (line) => {
    heard.push(line);
    return hear(line);
  });
  return { stream, heard, stop };
}

describe('lines of standard input', () => {
  test('come whole, however they are cut', async () => {
    const { stream, heard } = input();

    for (const piece of ['led', 'ger\nled', 'ger\r\n\nle']) {
      stream.write(piece);
      await turn();
    }
    stream.end('dger');
    await turn();

    expect(heard).toEqual(['ledger', 'ledger', '']);
  });

  test('that never end are dropped but for their beginning', async () => {
    const { stream, heard } = input();

    for (let i = 0; i < 100; i++) {
      stream.write('x'.repeat(10_000));
      await turn();
    }
    stream.write('\nledger\n');
    await turn();

    expect(heard.map((line) => line.length)).toEqual([256, 6]);
  });

  test('wait for the one before them', async () => {
    const waiting: (() => void)[] = [];
    const { stream, heard } = input(() => new Promise((resolve) => void waiting.push(resolve)));

    stream.write('a\nb\n');
    await turn();
    const before = [...heard];
    waiting[0]?.();
    await turn();

    expect(before).toEqual(['a']);
    expect(heard).toEqual(['a', 'b']);
  });

  test('are not heard any more after the end', async () => {
    const { stream, heard, stop } = input();

    stop();
    stream.write('ledger\n');
    await turn();

    expect(heard).toEqual([]);
  });

  test('and a broken standard input is silence', async () => {
    const { stream, heard } = input();

    stream.destroy(new Error('EIO'));
    await turn();

    expect(heard).toEqual([]);
  });
});

describe('files that are not mapped', () => {
  const files: SharedFiles = {
    identify: () => 'file',
    open: () => ({
      key: 'file',
      region: new DeviceRegion('file', 1, { read: () => true, write: () => true }),
      writable: true,
      contains: () => true,
      release: () => {},
    }),
  };
  const descriptor = {} as Descriptor;

  test('are told of once', () => {
    let told = 0;
    const watched = tellUnsealed(files, () => told++);

    watched.open(descriptor);
    watched.open(descriptor);

    expect(told).toBe(1);
    expect(watched.identify(descriptor)).toBe('file');
  });

  test('those that are mapped are not', () => {
    let told = 0;
    const fake = new FakeFiles();
    const shared = fake.share('ram', new DenseRamBlock(1));

    const opened = tellUnsealed(fake, () => told++).open(shared);

    expect('region' in opened).toBe(true);
    expect(told).toBe(0);
    shared.release();
  });
});
