import { describe, expect, test } from 'vitest';
import { SystemError } from '../../src/linux/index.ts';
import { jsonLines, linesOf, viommu } from './console.ts';
import { LiveCommand, type LiveOptions } from './serve-world.ts';
import { Command, HEADER_BYTES, versionRequest, writeHeader } from '../../src/vfio-user/index.ts';

const JSON_ARGS = ['serve', '--socket', '/tmp/s.sock', '--json'];
const PEOPLE_ARGS = ['serve', '--socket', '/tmp/s.sock'];

function started(argv: readonly string[], options: LiveOptions = {}): Promise<LiveCommand> {
  return new LiveCommand(argv, options).started();
}

/** A VERSION as it lies in the stream. */
const PROPOSAL: Uint8Array = proposal();

function proposal(): Uint8Array {
  const payload = versionRequest.encode({ major: 0, minor: 0, capabilities: {} });
  const message = new Uint8Array(HEADER_BYTES + payload.length);
  const size = message.length;
  writeHeader(message, 0, {
    id: 1,
    command: Command.VERSION,
    size,
    type: 'command',
    noReply: false,
    errno: 0,
  });
  message.set(payload, HEADER_BYTES);
  return message;
}

describe('viommu serve --json', () => {
  test('one line an event, as it was answered', async () => {
    const command = await started(JSON_ARGS);
    const vmm = command.connectVmm();
    await vmm.version();

    await vmm.map(0x1000n, 2, { offset: 0x5000n });
    await vmm.map(0x8000n, 1, { write: false });
    await vmm.map(0x2000n, 1);
    await vmm.unmap(0x1000n, 0x2000n);
    await command.settle();

    expect(command.out).toBe(
      '{"t":1767268800.000000,"op":"map","iova":"0x1000","size":8192,"offset":"0x5000","perm":"rw","result":"ok"}\n' +
        '{"t":1767268800.000000,"op":"map","iova":"0x8000","size":4096,"offset":"0x0","perm":"r","result":"ok"}\n' +
        '{"t":1767268800.000000,"op":"map","iova":"0x2000","size":4096,"offset":"0x0","perm":"rw","result":"EEXIST"}\n' +
        '{"t":1767268800.000000,"op":"unmap","iova":"0x1000","size":8192,"offset":"0x5000","perm":"rw","result":"ok","removed":1}\n',
    );
    command.signal('SIGTERM');
    await command.code;
  });

  test('an unmap as QEMU sends it, over several mappings and beyond 2^53', async () => {
    const command = await started(JSON_ARGS);
    const vmm = command.connectVmm();
    await vmm.version();
    await vmm.map(0x1_0000_0000n, 1);
    await vmm.map(0x2_0000_0000n, 1);

    await vmm.unmap(0xfef0_0000n, 0xffff_ffff_0110_0000n);
    await command.settle();

    expect(linesOf(command.out).at(-1)).toContain(
      '"op":"unmap","iova":"0xfef00000","size":18446744069432410112,"offset":null,"perm":null,"result":"ok","removed":2}',
    );
    command.signal('SIGTERM');
    await command.code;
  });

  test('who comes and goes is told on standard error, and the next one is served', async () => {
    const command = await started(JSON_ARGS);
    const first = command.connectVmm();
    await first.version();
    await first.map(0n, 1);
    first.connection.close('done');
    await command.settle();
    const second = command.connectVmm();
    await second.version();
    await second.map(0x3000n, 1);
    await command.settle();

    expect(jsonLines(command.out)).toHaveLength(2);
    expect(linesOf(command.err).map((line) => line.slice(0, 33))).toEqual([
      'viommu: listening on /tmp/s.sock:',
      'viommu: connected: up to 65,535 m',
      'viommu: disconnected: client 1 of',
      'viommu: connected: up to 65,535 m',
    ]);
    expect(command.err).toContain('; what was mapped went with it: 1 mapping, 4 KiB');
    command.signal('SIGTERM');
    await command.code;
  });

  test('a second VMM is turned away while one is there', async () => {
    const command = await started(JSON_ARGS);
    const first = command.connectVmm();
    await first.version();
    const second = command.connectVmm();

    const { errno } = await second.version();
    await second.connection.closed;

    expect(errno).toBe(16);
    expect(await first.map(0n, 1)).toBe(0);
    expect(command.err).toContain('another client is using probe');
    command.signal('SIGTERM');
    await command.code;
  });

  test('a refused map says why on standard error', async () => {
    const command = await started([...JSON_ARGS, '--max-dma-maps', '1']);
    const vmm = command.connectVmm();
    await vmm.version();
    await vmm.map(0n, 1);

    const errno = await vmm.map(0x1000n, 1);
    await command.settle();

    expect(errno).toBe(28);
    expect(command.out).toContain('"result":"ENOSPC"}');
    expect(command.err).toContain('DMA_MAP at 0x1000 was refused with ENOSPC');
    command.signal('SIGTERM');
    await command.code;
  });

  test('--strict refuses an unmap that is not of one mapping', async () => {
    const command = await started([...JSON_ARGS, '--strict']);
    const vmm = command.connectVmm();
    await vmm.version();
    await vmm.map(0n, 1);

    const errno = await vmm.unmap(0n, 0x10_0000n);
    await command.settle();

    expect(errno).toBe(2);
    expect(linesOf(command.out).at(-1)).toContain('"result":"ENOENT","removed":0}');
    command.signal('SIGTERM');
    await command.code;
  });
});

describe('the ledger', () => {
  const MAPPED = [
    { iova: '0x1000', size: 4096, offset: '0x3000', perm: 'rw' },
    { iova: '0x9000', size: 8192, offset: '0x0', perm: 'r' },
  ];

  test.each([
    ['a line on standard input', (command: LiveCommand) => command.line('ledger')],
    ['SIGUSR1', (command: LiveCommand) => Promise.resolve(command.signal('SIGUSR1'))],
  ])('by %s, ascending, on one line', async (_how, ask) => {
    const command = await started(JSON_ARGS);
    const vmm = command.connectVmm();
    await vmm.version();
    await vmm.map(0x9000n, 2, { write: false });
    await vmm.map(0x1000n, 1, { offset: 0x3000n });

    await ask(command);
    await command.settle();

    expect(jsonLines(command.out).at(-1)).toEqual({ ledger: MAPPED });
    command.signal('SIGTERM');
    await command.code;
  });

  test('before anybody has come', async () => {
    const command = await started(JSON_ARGS);

    await command.line('ledger');

    expect(command.out).toBe('{"ledger":[]}\n');
    command.signal('SIGTERM');
    await command.code;
  });

  test('for people, a table', async () => {
    const command = await started(PEOPLE_ARGS);
    const vmm = command.connectVmm();
    await vmm.version();
    await vmm.map(0x9000n, 2, { write: false });

    await command.line('ledger');

    expect(linesOf(command.out).slice(-4)).toEqual([
      '1 mapped',
      '  0x9000-0xafff  r       8 KiB  offset 0x0',
      '  8 KiB in all',
      '  8 KiB: 1 r',
    ]);
    command.signal('SIGTERM');
    await command.code;
  });

  test('is of one moment, however slowly it is read', async () => {
    const command = await started(JSON_ARGS, { slow: true });
    const vmm = command.connectVmm();
    await vmm.version();
    await vmm.map(0x1000n, 1, { offset: 0x3000n });
    await command.settle();

    command.signal('SIGUSR1');
    await vmm.unmap(0x1000n, 0x1000n);
    for (let i = 0; i < 5; i++) {
      command.read();
      await command.settle();
    }

    const ops = linesOf(command.out).map((line) => /"(?:ledger|map|unmap)"/.exec(line)?.[0]);
    expect(ops).toEqual(['"map"', '"ledger"', '"unmap"']);
    expect(jsonLines(command.out)[1]).toEqual({ ledger: [MAPPED[0]] });
    command.signal('SIGTERM');
    command.read();
    await command.code;
  });

  test('any other line is answered on standard error', async () => {
    const command = await started(JSON_ARGS);

    await command.line('help');
    await command.line('');

    expect(command.out).toBe('');
    expect(command.err).toContain('the only line that is understood is "ledger"');
    command.signal('SIGTERM');
    await command.code;
  });
});

describe('the end', () => {
  test.each(['SIGINT', 'SIGTERM'] as const)('%s ends connection, socket and command', async (signal) => {
    const command = await started(JSON_ARGS);
    const vmm = command.connectVmm();
    await vmm.version();
    await vmm.map(0n, 1);

    command.signal(signal);

    expect(await command.code).toBe(0);
    expect((await vmm.connection.closed).kind).toBe('closed-by-peer');
    expect([...command.listening]).toEqual([]);
    expect([...command.hearers.keys()]).toEqual([]);
    expect(command.files.openFiles).toBe(0);
    expect(linesOf(command.err).at(-1)).toBe('viommu: ended');
  });

  test('a reader that has seen enough ends it with status 0', async () => {
    const command = await started(JSON_ARGS, { closesAfter: 1 });
    const vmm = command.connectVmm();
    await vmm.version();

    await vmm.map(0n, 1);
    await command.settle();
    await vmm.map(0x1000n, 1);

    expect(await command.code).toBe(0);
    expect([...command.listening]).toEqual([]);
  });
});

describe('a reader that is slow', () => {
  test('slows the VMM down, and nothing is lost', async () => {
    const command = await started(JSON_ARGS, { slow: true });
    const vmm = command.connectVmm();
    await vmm.version();
    const maps = Array.from({ length: 40_000 }, (_, n) => vmm.map(BigInt(n) * 4096n, 1));
    const answered = { count: 0 };
    for (const map of maps) void map.finally(() => answered.count++);
    await command.settle();
    const before = answered.count;

    for (let i = 0; answered.count < 40_000 && i < 1000; i++) {
      command.read();
      await command.settle();
    }
    await Promise.all(maps);
    command.signal('SIGTERM');
    await command.settle();
    command.read();
    await command.settle();
    command.read();
    await command.code;

    expect(before).toBeLessThan(40_000);
    expect(linesOf(command.out)).toHaveLength(40_000);
  });
});

describe('for people', () => {
  test('who comes and goes, each with a time of day', async () => {
    const command = await started(PEOPLE_ARGS);
    const vmm = command.connectVmm();
    await vmm.version();
    await vmm.map(0n, 1);
    vmm.connection.close('done');
    await command.settle();
    command.signal('SIGINT');
    await command.code;

    const lines = linesOf(command.out);
    expect(lines.filter((line) => !/^\d\d:\d\d:\d\d {2}/.test(line))).toEqual([]);
    expect(lines.map((line) => line.slice(10, 22))).toEqual([
      'listening on',
      'connected: u',
      'disconnected',
      'ended',
    ]);
    expect(command.err).toBe('');
  });

  test('without a terminal, a line for a second in which something came', async () => {
    const command = await started(PEOPLE_ARGS);
    const vmm = command.connectVmm();
    await vmm.version();
    await command.settle();
    command.beat();
    await command.settle();
    const before = linesOf(command.out).length;
    for (let n = 0; n < 1000; n++) void vmm.map(BigInt(n) * 4096n, 1);
    await command.settle();

    command.beat();
    await command.settle();
    command.beat();
    await command.settle();

    expect(
      linesOf(command.out)
        .slice(before)
        .map((line) => line.slice(10)),
    ).toEqual(['1,000 mappings, 3.9 MiB; 1,000 maps/s, 0 unmaps/s; last: map 0x3e7000-0x3e7fff, 4 KiB, rw']);
    command.signal('SIGTERM');
    await command.code;
  });

  test('--verbose has a line an event', async () => {
    const command = await started([...PEOPLE_ARGS, '--verbose']);
    const vmm = command.connectVmm();
    await vmm.version();

    await vmm.map(0x1000n, 1);
    await vmm.unmap(0x1000n, 0x1000n);
    await command.settle();

    expect(
      linesOf(command.out)
        .slice(-2)
        .map((line) => line.slice(10)),
    ).toEqual(['map 0x1000-0x1fff, 4 KiB, rw', 'unmap 0x1000-0x1fff, 4 KiB, rw']);
    command.signal('SIGTERM');
    await command.code;
  });

  test('on a terminal a line stays below that shows how things stand', async () => {
    const command = await started(PEOPLE_ARGS, { terminal: true });
    command.beat();
    await command.settle();
    const vmm = command.connectVmm();
    await vmm.version();
    await vmm.map(0x1000n, 1);
    await command.settle();
    command.beat();
    await command.settle();

    const screen = command.out.split('\n').at(-1)?.split('\r\x1b[K').at(-1);
    expect(command.out).toContain('\nwaiting for a VMM\r\x1b[K');
    expect(screen).toBe('1 mapping, 4 KiB; 4 maps/s, 0 unmaps/s; last: map 0x1000-0x1fff, 4 KiB, rw');
    command.signal('SIGTERM');
    await command.code;
    expect(command.out).toContain('  ended\n');
    expect(command.out.endsWith('\r\x1b[K')).toBe(true);
  });

  test('the line is cut to the width of the terminal', async () => {
    const command = await started(PEOPLE_ARGS, { terminal: true });
    const vmm = command.connectVmm();
    await vmm.version();
    await vmm.unmap(0xfef0_0000n, 0xffff_ffff_0110_0000n);
    await command.settle();
    command.beat();
    await command.settle();

    expect(command.out.split('\n').at(-1)?.split('\r\x1b[K').at(-1)).toHaveLength(79);
    command.signal('SIGTERM');
    await command.code;
  });
});

describe('message mode', () => {
  test('is announced once, with the reason, where nothing else is possible', async () => {
    const command = await started(JSON_ARGS, { messagesOnly: 'koffi cannot be loaded' });
    const vmm = command.connectVmm();
    await vmm.version();
    await vmm.map(0n, 1);

    expect(command.err.match(/message mode/g)).toHaveLength(1);
    expect(command.err).toContain('koffi cannot be loaded');
    command.signal('SIGTERM');
    await command.code;
  });

  test('--messages opens no file', async () => {
    const command = await started([...JSON_ARGS, '--messages']);
    const vmm = command.connectVmm();
    await vmm.version();

    const errno = await vmm.map(0n, 1);

    expect([errno, command.files.opened]).toEqual([0, 0]);
    expect(command.err).toContain('message mode, as asked for');
    command.signal('SIGTERM');
    await command.code;
  });
});

describe('what cannot be', () => {
  test.each([
    [['serve'], "required option '--socket <PATH>' not specified"],
    [['serve', '--socket'], 'argument missing'],
    [[...PEOPLE_ARGS, '--device', 'e1000'], 'Allowed choices are probe, edu'],
    [[...PEOPLE_ARGS, '--max-dma-maps', '0'], 'Write a number of mappings, 1 to 4194304'],
    [[...PEOPLE_ARGS, '--max-dma-maps', '1e3'], 'Write a number of mappings, 1 to 4194304'],
    [[...PEOPLE_ARGS, '--max-dma-maps', '4194305'], 'Write a number of mappings, 1 to 4194304'],
    [[...PEOPLE_ARGS, 'more'], 'too many arguments'],
  ])('viommu %j', async (argv, said) => {
    const { code, out, err } = await viommu(argv);

    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain(said);
  });

  test('a socket that cannot be made: one line, with the remedy', async () => {
    const listenError = new SystemError(
      'VIOMMU_SYSTEM',
      'listening on /x/s.sock: failed with ENOENT',
      'ENOENT',
    );

    const command = await started(JSON_ARGS, { listenError });

    expect(await command.code).toBe(2);
    expect(command.err).toBe(
      'viommu: listening on /x/s.sock: failed with ENOENT; the folder does not exist: create it, or choose another path\n',
    );
    expect([...command.hearers.keys()]).toEqual([]);
  });

  test('one that is in use', async () => {
    const listenError = new SystemError(
      'VIOMMU_SOCKET_IN_USE',
      '/tmp/s.sock: another process listens there already; stop it, or choose another path',
    );

    const command = await started(JSON_ARGS, { listenError });

    expect(await command.code).toBe(2);
    expect(command.err).toBe(
      'viommu: /tmp/s.sock: another process listens there already; stop it, or choose another path\n',
    );
  });
});

test('a reader of standard output that has stopped does not hold up the end', async () => {
  const command = await started(JSON_ARGS, { slow: true });
  const vmm = command.connectVmm();
  await vmm.version();
  await vmm.map(0x1000n, 1);
  await command.settle();
  command.signal('SIGTERM');
  await command.settle();
  const before = command.gaveUp;

  command.passTime();

  expect(await command.code).toBe(0);
  expect([before, command.gaveUp]).toEqual([false, true]);
  expect(command.err).toContain('standard output is not being read');
});

test('refusals, however many, do not take the place of why somebody left', async () => {
  const command = await started(JSON_ARGS);
  const vmm = command.connectVmm();
  await vmm.version();
  for (let i = 0; i < 50; i++) await vmm.map(0x1001n, 1);

  vmm.connection.close('done');
  await command.settle();

  expect(command.err).toContain('was refused with EINVAL');
  expect(command.err).toContain('disconnected: ');
  command.signal('SIGTERM');
  await command.code;
});

test('a VMM that does not read its answers does not hold up the end', async () => {
  const command = await started(JSON_ARGS, {});
  const { near, far } = command.connectPeer();
  near.pause();
  near.send(PROPOSAL);
  await command.settle();
  const unread = far.queuedBytes;
  command.signal('SIGTERM');
  await command.settle();
  const before = far.over;

  command.passTime();

  expect(await command.code).toBe(0);
  await command.settle();
  expect([unread > 0, before, far.over]).toEqual([true, false, true]);
});

test.each([
  [
    'serve',
    ['--socket <PATH>', '--device <KIND>', 'share=on', '"driver":"vfio-user-pci"', 'device_add', 'koffi'],
  ],
  [
    'proxy',
    [
      '--listen <PATH>',
      '--connect <PATH>',
      '--merge',
      'share=on',
      '"driver":"vfio-user-pci"',
      'libvfio-user',
    ],
  ],
])('viommu %s --help has what is to be copied into QEMU', async (name, parts) => {
  const { code, out, err } = await viommu([name, '--help']);

  expect({ code, err }).toEqual({ code: 0, err: '' });
  for (const part of [...parts, 'Examples:', '$ viommu', 'Exit status:']) expect(out).toContain(part);
});
