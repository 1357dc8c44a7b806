import { describe, expect, test } from 'vitest';
import { SystemError } from '../../src/linux/index.ts';
import { probeDevice } from '../../src/devices/index.ts';
import { type Channel, VfioUserServer } from '../../src/vfio-user/index.ts';
import { createChannelPair } from '../vfio-user/memory-channel.ts';
import { jsonLines, linesOf, viommu } from './console.ts';
import { LiveCommand, type LiveOptions } from './serve-world.ts';

const ARGS = ['proxy', '--listen', '/tmp/vmm.sock', '--connect', '/tmp/device.sock'];

/** A server as strict as libvfio-user, reached by `connect`. */
function strictServer(): {
  server: VfioUserServer;
  connect: () => Promise<Channel>;
  connections: () => number;
} {
  const server = new VfioUserServer({ device: probeDevice(), unmap: 'exact' });
  let connections = 0;
  return {
    server,
    connections: () => connections,
    connect: () => {
      connections++;
      const [near, far] = createChannelPair();
      server.accept(far);
      return Promise.resolve(near);
    },
  };
}

function started(argv: readonly string[], options: LiveOptions): Promise<LiveCommand> {
  return new LiveCommand(argv, options).started();
}

function absent(): Promise<Channel> {
  return Promise.reject(
    new SystemError('VIOMMU_NO_LISTENER', '/tmp/device.sock: nobody listens on this socket'),
  );
}

describe('viommu proxy --json', () => {
  test('what the VMM asked for, and what the server was asked for', async () => {
    const { connect } = strictServer();
    const command = await started([...ARGS, '--json'], { connect });
    const vmm = command.connectVmm();
    await vmm.version();

    await vmm.map(0x1000n, 1, { offset: 0x5000n });
    await vmm.map(0x4000n, 2);
    await vmm.unmap(0n, 0x10_0000n);
    await command.settle();

    const lines = jsonLines(command.out) as { side: string; op: string; iova: string; removed?: number }[];
    expect(lines.map(({ side, op, iova, removed }) => [side, op, iova, removed])).toEqual([
      ['server', 'map', '0x1000', undefined],
      ['vmm', 'map', '0x1000', undefined],
      ['server', 'map', '0x4000', undefined],
      ['vmm', 'map', '0x4000', undefined],
      ['server', 'unmap', '0x1000', 1],
      ['server', 'unmap', '0x4000', 1],
      ['vmm', 'unmap', '0x0', 2],
    ]);
    command.signal('SIGTERM');
    expect(await command.code).toBe(0);
  });

  test('a line of DMA has the keys of serve, and the side', async () => {
    const { connect } = strictServer();
    const command = await started([...ARGS, '--json'], { connect });
    const vmm = command.connectVmm();
    await vmm.version();

    await vmm.map(0x1000n, 1, { offset: 0x5000n });
    await command.settle();

    expect(linesOf(command.out)[1]).toBe(
      '{"t":1767268800.000000,"side":"vmm","op":"map","iova":"0x1000","size":4096,"offset":"0x5000","perm":"rw","result":"ok"}',
    );
    command.signal('SIGTERM');
    await command.code;
  });

  test('--verbose has a line for each message that passes, too', async () => {
    const { connect } = strictServer();
    const command = await started([...ARGS, '--json', '--verbose'], { connect });
    const vmm = command.connectVmm();

    await vmm.version();
    await command.settle();

    expect(jsonLines(command.out)).toEqual([
      {
        t: 1767268800,
        side: 'vmm',
        op: 'pass',
        message: 'VERSION',
        kind: 'command',
        size: expect.any(Number),
        descriptors: 0,
        result: 'ok',
      },
      {
        t: 1767268800,
        side: 'server',
        op: 'pass',
        message: 'VERSION',
        kind: 'reply',
        size: expect.any(Number),
        descriptors: 0,
        result: 'ok',
      },
    ]);
    command.signal('SIGTERM');
    await command.code;
  });

  test('the ledger is what the server holds; with --merge neighbours are one', async () => {
    const { connect, server } = strictServer();
    const command = await started([...ARGS, '--json', '--merge'], { connect });
    const vmm = command.connectVmm();
    await vmm.version();
    await Promise.all([vmm.map(0x1000n, 1, { offset: 0x1000n }), vmm.map(0x2000n, 1, { offset: 0x2000n })]);

    await command.line('ledger');

    expect(jsonLines(command.out).at(-1)).toEqual({
      ledger: [{ iova: '0x1000', size: 8192, offset: '0x1000', perm: 'rw' }],
    });
    expect(server.memory.size).toBe(1);
    command.signal('SIGTERM');
    await command.code;
  });

  test('before anybody has come the ledger is empty', async () => {
    const command = await started([...ARGS, '--json'], { connect: absent });

    await command.line('ledger');

    expect(command.out).toBe('{"ledger":[]}\n');
    command.signal('SIGTERM');
    await command.code;
  });
});

describe('VMMs', () => {
  test('one after the other, each with a connection to the server of its own', async () => {
    const { connect, connections } = strictServer();
    const command = await started([...ARGS, '--json'], { connect });
    const first = command.connectVmm();
    await first.version();
    await first.map(0n, 1);
    first.connection.close('done');
    await command.settle();
    const second = command.connectVmm();

    expect((await second.version()).errno).toBe(0);
    expect(await second.map(0n, 1)).toBe(0);
    expect(connections()).toBe(2);
    expect(command.err).toContain('disconnected: the VMM closed the connection');
    expect(command.err).toContain('the server held 1 mapping, 4 KiB');
    command.signal('SIGTERM');
    await command.code;
  });

  test('a second one meanwhile is turned away with EBUSY', async () => {
    const { connect } = strictServer();
    const command = await started(ARGS, { connect });
    const first = command.connectVmm();
    await first.version();
    const second = command.connectVmm();

    expect((await second.version()).errno).toBe(16);
    expect((await second.connection.closed).kind).toBe('closed-by-peer');
    expect(await first.map(0n, 1)).toBe(0);
    await command.settle();
    expect(command.out).toContain('another VMM was turned away: one is there already');
    command.signal('SIGTERM');
    await command.code;
  });

  test('that ask nothing and do not leave do not hold up the end', async () => {
    const { connect } = strictServer();
    const command = await started(ARGS, { connect });
    const vmm = command.connectVmm();
    await vmm.version();
    const { near, far } = command.connectPeer();
    near.pause();
    await command.settle();

    command.signal('SIGTERM');
    await command.settle();
    command.passTime();

    expect(await command.code).toBe(0);
    await command.settle();
    expect(far.over).toBe(true);
  });

  test('the end of the server ends the VMM’s connection, and the proxy waits for the next', async () => {
    const { connect, server } = strictServer();
    const command = await started([...ARGS, '--json'], { connect });
    const vmm = command.connectVmm();
    await vmm.version();

    await server.close();

    expect((await vmm.connection.closed).kind).toBe('closed-by-peer');
    await command.settle();
    expect(command.err).toContain('the connection to the VMM was ended');
    expect([...command.listening]).toEqual(['/tmp/vmm.sock']);
    command.signal('SIGTERM');
    await command.code;
  });

  test.each(['SIGINT', 'SIGTERM'] as const)(
    '%s ends both connections, socket and command',
    async (signal) => {
      const { connect, server } = strictServer();
      const command = await started(ARGS, { connect });
      const vmm = command.connectVmm();
      await vmm.version();
      await vmm.map(0n, 1);

      command.signal(signal);

      expect(await command.code).toBe(0);
      expect((await vmm.connection.closed).kind).toBe('closed-by-peer');
      expect([server.connected, server.memory.size]).toEqual([false, 0]);
      expect([...command.listening, ...command.hearers.keys()]).toEqual([]);
      expect(command.files.openFiles).toBe(0);
    },
  );
});

describe('a server that is not there', () => {
  test('is waited for, which is said once', async () => {
    const { connect } = strictServer();
    let tries = 0;
    const command = await started(ARGS, { connect: () => (++tries < 4 ? absent() : connect()) });
    const vmm = command.connectVmm();
    const version = vmm.version();
    for (let i = 0; i < 3; i++) {
      await command.settle();
      command.passTime();
    }

    expect((await version).errno).toBe(0);
    await command.settle();
    expect(command.out.match(/trying again for 4 seconds/g)).toHaveLength(1);
    expect(tries).toBe(4);
    command.signal('SIGTERM');
    await command.code;
  });

  test('is given up, and the VMM refused with ENODEV', async () => {
    let tries = 0;
    const command = await started(ARGS, {
      connect: () => {
        tries++;
        return absent();
      },
    });
    const vmm = command.connectVmm();
    const version = vmm.version();
    for (let i = 0; i < 40; i++) {
      await command.settle();
      command.passTime();
    }

    expect((await version).errno).toBe(19);
    expect(tries).toBe(21);
    expect(command.out).toContain('the VMM was refused: /tmp/device.sock: nobody listens on this socket');
    command.signal('SIGTERM');
    await command.code;
  });

  test('any other failure refuses the VMM at once', async () => {
    const command = await started(ARGS, { connect: () => Promise.reject(new Error('too long a path')) });
    const vmm = command.connectVmm();

    expect((await vmm.version()).errno).toBe(19);
    await command.settle();
    expect(command.out).toContain('the VMM was refused: too long a path');
    command.signal('SIGTERM');
    await command.code;
  });

  test('does not hold up the end', async () => {
    const command = await started(ARGS, { connect: absent });
    const vmm = command.connectVmm();
    await command.settle();

    command.signal('SIGTERM');
    await command.settle();
    command.passTime();

    expect(await command.code).toBe(0);
    expect((await vmm.connection.closed).kind).toBe('closed-by-peer');
  });
});

describe('for people', () => {
  test('both sides in one line, and what passed', async () => {
    const { connect } = strictServer();
    const command = await started(ARGS, { connect });
    const vmm = command.connectVmm();
    await vmm.version();
    await vmm.map(0n, 1);
    await vmm.map(0x8000n, 1);
    await vmm.unmap(0n, 0x1_0000n);
    await command.settle();

    command.beat();
    await command.settle();

    expect(linesOf(command.out).at(-1)?.slice(10)).toBe(
      'VMM: 0 mappings, 0 bytes; 2 maps/s, 1 unmaps/s; last: unmap 0x0-0xffff, 64 KiB, 2 mappings | ' +
        'server: 0 mappings, 0 bytes; 2 maps/s, 2 unmaps/s; last: unmap 0x8000-0x8fff, 4 KiB | passed: 1 message, 1/s',
    );
    command.signal('SIGTERM');
    await command.code;
  });

  test('a refusal is a line', async () => {
    const { connect } = strictServer();
    const command = await started(ARGS, { connect });
    const vmm = command.connectVmm();
    await vmm.version();
    await vmm.map(0n, 2);

    const errno = await vmm.unmap(0n, 0x1000n);
    await command.settle();

    expect(errno).toBe(22);
    expect(command.out).toContain('refused: VMM: unmap 0x0-0xfff, 4 KiB: EINVAL');
    command.signal('SIGTERM');
    await command.code;
  });

  test('--verbose has a line an event and a message', async () => {
    const { connect } = strictServer();
    const command = await started([...ARGS, '--verbose'], { connect });
    const vmm = command.connectVmm();
    await vmm.version();
    await vmm.map(0n, 1);
    await command.settle();

    const lines = linesOf(command.out).map((line) => line.slice(10));
    expect(lines.some((line) => /^VMM: VERSION command, [\d,]+ bytes$/.test(line))).toBe(true);
    expect(lines.slice(-2)).toEqual(['server: map 0x0-0xfff, 4 KiB, rw', 'VMM: map 0x0-0xfff, 4 KiB, rw']);
    command.signal('SIGTERM');
    await command.code;
  });
});

describe('what cannot be', () => {
  test.each([
    [['proxy'], "required option '--listen <PATH>' not specified"],
    [['proxy', '--listen', '/tmp/a'], "required option '--connect <PATH>' not specified"],
    [[...ARGS, 'more'], 'too many arguments'],
  ])('viommu %j', async (argv, said) => {
    const { code, out, err } = await viommu(argv);

    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain(said);
  });

  test('a socket that cannot be made', async () => {
    const listenError = new SystemError(
      'VIOMMU_SYSTEM',
      'listening on /root/x: bind failed with EACCES',
      'EACCES',
    );

    const command = await started(ARGS, { listenError });

    expect(await command.code).toBe(2);
    expect(command.err).toBe(
      'viommu: listening on /root/x: bind failed with EACCES; you may not create files there: choose another folder, ' +
        'or change its permissions\n',
    );
  });

  test('descriptors, where koffi is not there: announced once', async () => {
    const command = await started(ARGS, { connect: absent, messagesOnly: 'koffi cannot be loaded' });

    expect(command.err.match(/koffi cannot be loaded/g)).toHaveLength(1);
    command.signal('SIGTERM');
    await command.code;
  });
});
