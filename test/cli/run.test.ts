import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { describe, expect, test } from 'vitest';
import { shippedCaptures } from '../../src/guests/index.ts';
import { linesOf, viommu } from './console.ts';

const captures = await shippedCaptures();
const capture = captures.find((folder) => basename(folder) === 'vtd-legacy-e1000') ?? '';
const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

describe('help', () => {
  test.each([[['--help']], [['-h']], [['help']]])('viommu %j teaches the commands', async (argv) => {
    const { code, out, err } = await viommu(argv);

    expect({ code, err }).toEqual({ code: 0, err: '' });
    for (const part of ['replay', 'maps', 'translate', 'Examples:', 'Exit status:'])
      expect(out).toContain(part);
  });

  test.each([
    [
      ['replay', '--help'],
      ['--host <KIND>', 'type1', '--host-page-size', '--json', 'matchesQemu'],
    ],
    [
      ['maps', '--help'],
      ['--requester <BB:DD.F>', '--pasid', '--final', '--budget', '--rtaddr', '"perm":"w"'],
    ],
    [
      ['help', 'translate'],
      ['--access <KIND>', '<iova>', '--rtaddr', 'xp /2xw 0xfed90020', 'second-stage walks'],
    ],
  ])('viommu %j explains its options, with examples and exit status', async (argv, parts) => {
    const { code, out, err } = await viommu(argv);

    expect({ code, err }).toEqual({ code: 0, err: '' });
    for (const part of [...parts, 'Examples:', '$ viommu', 'Exit status:']) expect(out).toContain(part);
  });

  test('keeps to the width of the terminal', async () => {
    const { out } = await viommu(['maps', '--help'], { terminal: true });

    const options = out.slice(out.indexOf('Options:'), out.indexOf('People see'));
    expect(linesOf(options).filter((line) => line.length > 80)).toEqual([]);
  });
});

test.each([['--version'], ['-V']])('%s is the version of the package', async (option) => {
  expect(await viommu([option])).toMatchObject({ code: 0, out: `${manifest.version}\n`, err: '' });
});

describe('command lines that are wrong', () => {
  const translate = ['translate', capture, '--requester', '02:00.0'];

  test.each([
    [[], 'Usage: viommu'],
    [['mapz'], "unknown command 'mapz'"],
    [['help', 'mapz'], 'Usage: viommu'],
    [['maps'], "missing required argument 'source'"],
    [['maps', capture, 'another'], 'too many arguments'],
    [['maps', capture, '--jsonn'], "unknown option '--jsonn'"],
    [['maps', capture, '--requester', '02:00'], 'Write bus:device.function'],
    [['maps', capture, '--requester', '02:20.0'], 'Write bus:device.function'],
    [['maps', capture, '--requester', '02:00.8'], 'Write bus:device.function'],
    [['maps', capture, '--requester', ''], 'Write bus:device.function'],
    [['maps', capture, '--requester'], 'argument missing'],
    [['maps', capture, '--budget', '0'], 'Write a number of mappings'],
    [['maps', capture, '--budget', '1e9'], 'Write a number of mappings'],
    [['maps', capture, '--pasid', '0'], 'leave the option out for requests without PASID'],
    [['maps', capture, '--pasid', '1048576'], 'A PASID is 1 to 1048575'],
    [['maps', capture, '--pasid', '-1'], 'A PASID is 1 to 1048575'],
    [['translate', capture, '0x1000'], "required option '--requester <BB:DD.F>' not specified"],
    [[...translate], "missing required argument 'iova'"],
    [[...translate, '0x'], 'Write a hexadecimal address of up to 64 bits'],
    [[...translate, '-1'], '-1'],
    [[...translate, '1000'], 'Write a hexadecimal address of up to 64 bits'],
    [[...translate, '0x10000000000000000'], 'Write a hexadecimal address of up to 64 bits'],
    [[...translate, '0xfoo'], 'Write a hexadecimal address of up to 64 bits'],
    [[...translate, '2^64'], 'Write a hexadecimal address of up to 64 bits'],
    [[...translate, ''], 'Write a hexadecimal address of up to 64 bits'],
    [[...translate, '0x1000', '--access', 'x'], 'Allowed choices are r, w, none'],
  ])('viommu %j', async (argv, said) => {
    const { code, out, err } = await viommu(argv);

    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain(said);
    expect(err).not.toMatch(/^\s+at /m);
  });

  test('a mistake in a command points to its help', async () => {
    const { err } = await viommu(['maps']);

    expect(err).toBe("viommu: missing required argument 'source'\nSee: viommu maps --help\n");
  });

  test('what comes from the command line cannot steer the terminal', async () => {
    const { code, err } = await viommu(['maps', capture, '--\x1b[2Jx']);

    expect(code).toBe(2);
    expect(err).toContain("unknown option '--\\u001b[2Jx'");
    expect(err).not.toContain('\x1b');
  });
});

describe('options that do not fit the source', () => {
  test.each([
    [['maps', capture, '--rtaddr', '0x1000'], '--rtaddr is for ELF cores'],
    [['maps', capture, '--cap', '0x1000'], '--cap is for ELF cores'],
    [['maps', capture, '--model', 'amd'], '--model "amd" does not fit a capture of "vtd"'],
    [['maps', `${capture}/capture.json`], 'name its folder'],
    [
      ['maps', `${capture}/memory.elf.gz`],
      'add --model vtd --rtaddr 0x... (what RTADDR_REG held) or --model amdvi --devtab 0x... (what Device Table Base held), or',
    ],
    [['maps', `${capture}/memory.elf.gz`, '--model', 'vtd'], 'add --model vtd --rtaddr 0x...'],
    [
      ['maps', `${capture}/memory.elf.gz`, '--model', 'smmuv3', '--rtaddr', '0x1000'],
      'supported: vtd, amdvi',
    ],
    [['maps', `${capture}/memory.elf.gz`, '--final'], '--final is for captures'],
    [
      ['maps', `${capture}/memory.elf.gz`, '--model', 'vtd', '--rtaddr', '4096'],
      'Write a hexadecimal register value',
    ],
  ])('viommu %j', async (argv, said) => {
    const { code, out, err } = await viommu(argv);

    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain(said);
    expect(err).toMatch(/^viommu: /);
  });

  test('--model that says what the capture is, is no mistake', async () => {
    const { code } = await viommu(['maps', capture, '--model', 'vtd', '--json']);

    expect(code).toBe(0);
  });
});
