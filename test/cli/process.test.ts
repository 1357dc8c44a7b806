import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { shippedCaptures } from '../../src/guests/index.ts';
import { linesOf } from './console.ts';

const captures = await shippedCaptures();
const capture = captures.find((folder) => basename(folder) === 'vtd-legacy-e1000') ?? '';
const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const root = fileURLToPath(new URL('../..', import.meta.url));
const shell = existsSync('/bin/sh');

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function ended(command: string, args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, env: { ...process.env, ...env } });
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
    child.on('error', reject).on('close', (code) => resolve({ code, out, err }));
  });
}

function viommu(args: readonly string[], env?: Record<string, string>): Promise<Ended> {
  return ended(process.execPath, ['--import', 'tsx', main, ...args], env);
}

/** A line of shell in which `$viommu` is the command. */
function sh(line: string): Promise<Ended> {
  const command = `"${process.execPath}" --import tsx "${main}"`;
  return ended('/bin/sh', ['-c', line.replaceAll('$viommu', command)]);
}

describe('as a process', () => {
  test('output on standard output, status 0', async () => {
    const { code, out, err } = await viommu(['maps', capture, '--requester', '02:00.0', '--json']);

    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(linesOf(out)).toHaveLength(348);
  });

  test('a fault, status 1', async () => {
    const { code, out } = await viommu(['translate', capture, '--requester', '02:00.0', '0x3000']);

    expect(code).toBe(1);
    expect(out).toContain('fault for a read: LGN.3');
  });

  test('an input that cannot be read, status 2 and one line on standard error', async () => {
    const { code, out, err } = await viommu(['maps', '/nonexistent']);

    expect({ code, out, err }).toEqual({
      code: 2,
      out: '',
      err: 'viommu: /nonexistent: does not exist; check the path\n',
    });
  });

  test('no escape sequences without a terminal, even where colours are forced', async () => {
    const { out } = await viommu(['maps', capture], { FORCE_COLOR: '1' });

    expect(out).toContain('02:00.0');
    expect(out).not.toContain('\x1b');
  });
});

describe.runIf(shell)('in a pipe', () => {
  test('head takes what it wants, and nobody complains', async () => {
    const { code, out, err } = await sh(
      `{ $viommu maps "${capture}" --json; echo "status $?" >&2; } | head -n 1`,
    );

    expect({ code, err }).toEqual({ code: 0, err: 'status 0\n' });
    expect(linesOf(out)).toHaveLength(1);
  });

  test('a reader that is gone from the start', async () => {
    const { err } = await sh(`{ $viommu maps "${capture}"; echo "status $?" >&2; } | true`);

    expect(err).toBe('status 0\n');
  });

  test.runIf(existsSync('/dev/full'))('a full disk is told, with status 2', async () => {
    const { code, err } = await sh(`$viommu maps "${capture}" --json > /dev/full`);

    expect(code).toBe(2);
    expect(err).toMatch(/^viommu: standard output cannot be written \(ENOSPC/);
  });

  test('a closed standard error is no failure', async () => {
    const { code, out } = await sh(`$viommu maps "${capture}" --requester 02:00.0 --json 2>&-`);

    expect(code).toBe(0);
    expect(linesOf(out)).toHaveLength(348);
  });
});
