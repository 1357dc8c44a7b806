import { afterEach, describe, expect, test } from 'vitest';
import { ALL_PAGES } from '../../../src/memory/index.ts';
import {
  ServerRefusedError,
  UnusableServerError,
  VfioUserClient,
} from '../../../src/vfio-user/client/index.ts';
import { ConnectionLostError } from '../../../src/vfio-user/close-reason.ts';
import type { IncomingCommand } from '../../../src/vfio-user/command.ts';
import { Connection } from '../../../src/vfio-user/connection.ts';
import {
  type Capabilities,
  Command,
  Errno,
  type VersionMessage,
  versionRequest,
} from '../../../src/vfio-user/wire/index.ts';
import { FakeTimers } from '../fake-timers.ts';
import { createChannelPair, fakeDescriptor, openFakeDescriptors } from '../memory-channel.ts';
import { connected, errorOf, type RigOptions, settle } from './rig.ts';
import { ScriptedServer, type ScriptedServerOptions } from './scripted-server.ts';

afterEach(() => {
  expect(openFakeDescriptors()).toBe(0);
});

function version(capabilities: Capabilities): VersionMessage {
  return { major: 0, minor: 0, capabilities };
}

function refuse(command: IncomingCommand, number: number, errno: number): boolean {
  if (command.command !== number) return false;
  command.fail(errno);
  return true;
}

/** A connection that is not made yet, and whether the server's end of it is over. */
function prepared(options: ScriptedServerOptions): {
  connect: () => Promise<unknown>;
  isOver: () => boolean;
} {
  const [near, far] = createChannelPair();
  const server = new ScriptedServer(far, options);
  return {
    connect: () => VfioUserClient.connect({ name: 'the server', open: () => Promise.resolve(near) }),
    isOver: () => !server.connection.isOpen && near.over,
  };
}

/** What a client proposes. */
async function proposalOf(options: RigOptions = {}): Promise<VersionMessage> {
  let proposal: VersionMessage | undefined;
  await connected({
    ...options,
    answer: (command) => {
      if (command.command !== Command.VERSION) return false;
      const decoded = versionRequest.decode(command.payload.slice());
      if (decoded.ok) proposal = decoded.value;
      return false;
    },
  });
  return proposal as VersionMessage;
}

describe('the proposal', () => {
  test('is the least version and what this client takes', async () => {
    expect(await proposalOf()).toEqual({
      major: 0,
      minor: 0,
      capabilities: {
        maxMsgFds: 16,
        maxDataXferSize: 1_048_576,
        maxDmaMaps: 65_535,
        pgsizes: 4096n,
        viommu: { sameFile: true },
      },
    });
  });

  test('has no extension for files where none can be passed', async () => {
    expect((await proposalOf({ pair: { descriptors: false } })).capabilities.viommu).toBeUndefined();
  });

  test('names the mappings that are meant to be made', async () => {
    expect((await proposalOf({ maxDmaMaps: 1_000_000 })).capabilities.maxDmaMaps).toBe(1_000_000);
  });
});

describe('the limits', () => {
  test('of a server that says nothing are those of the specification', async () => {
    const { client } = await connected();

    expect(client.limits).toEqual({
      pageSizes: 4096n,
      apertures: [ALL_PAGES],
      maxMappings: 65_535,
      unmap: 'exact',
      atomicReplace: false,
    });
    expect(client.version).toEqual({ major: 0, minor: 0, capabilities: {} });
    expect(client.info).toEqual({ reset: true, pci: true, regions: 9, irqs: 5 });
  });

  test.each<[number | undefined, number | undefined, number]>([
    [undefined, undefined, 65_535],
    [100, undefined, 100],
    [1_000_000, undefined, 1_000_000],
    [1_000_000, 200_000, 200_000],
    [undefined, 200_000, 65_535],
    [100, 200_000, 100],
    [0, undefined, 0],
  ])(
    'with max_dma_maps %s of the server and %s of the client are %i mappings',
    async (server, option, least) => {
      const { client } = await connected({
        ...(server === undefined ? {} : { capabilities: { maxDmaMaps: server } }),
        ...(option === undefined ? {} : { maxDmaMaps: option }),
      });

      expect(client.limits.maxMappings).toBe(least);
    },
  );

  test('have the server page sizes', async () => {
    const { client } = await connected({ capabilities: { pgsizes: 0x4020_0000n } });

    expect(client.limits.pageSizes).toBe(0x4020_0000n);
  });
});

describe('a server is turned down', () => {
  test.each<[string, VersionMessage, string]>([
    ['with another major version', { major: 1, minor: 0, capabilities: {} }, 'speaks version 1.0'],
    ['with a higher minor version', { major: 0, minor: 1, capabilities: {} }, 'speaks version 0.1'],
    ['that takes no data', version({ maxDataXferSize: 0 }), 'takes no data in its messages'],
    ['without page sizes', version({ pgsizes: 0n }), 'announces no page size'],
    ['with a twin socket', version({ twinSocket: { supported: true, fdIndex: 0 } }), 'wants a twin socket'],
  ])('%s', async (_, answer, problem) => {
    const peer = prepared({ version: answer });

    const error = await errorOf(() => peer.connect());

    expect(error).toBeInstanceOf(UnusableServerError);
    expect(error.message).toContain(`the server ${problem}`);
    await settle();
    expect(peer.isOver()).toBe(true);
  });

  test('that refuses the version', async () => {
    const peer = prepared({ answer: (command) => refuse(command, Command.VERSION, Errno.EINVAL) });

    const error = await errorOf(() => peer.connect());

    expect(error).toMatchObject({ code: 'VIOMMU_SERVER_REFUSED', command: 'VERSION', errno: 'EINVAL' });
    expect(error.message).toBe('the server refused VERSION with EINVAL');
    await settle();
    expect(peer.isOver()).toBe(true);
  });

  test('that does not say what its device is', async () => {
    const error = await errorOf(() =>
      connected({ answer: (command) => refuse(command, Command.DEVICE_GET_INFO, Errno.ENODEV) }),
    );

    expect(error).toBeInstanceOf(ServerRefusedError);
  });

  test('whose answer makes no sense', async () => {
    const error = await errorOf(() =>
      connected({
        answer: (command) => {
          if (command.command !== Command.VERSION) return false;
          command.reply(Uint8Array.of(0, 0));
          return true;
        },
      }),
    );

    expect(error).toBeInstanceOf(UnusableServerError);
    expect(error.message).toContain('makes no sense (VERSION: 2 bytes, must be at least 4)');
  });

  test('that hangs up on the proposal', async () => {
    const error = await errorOf(() =>
      VfioUserClient.connect({
        open: () => {
          const [near, far] = createChannelPair();
          far.close();
          return Promise.resolve(near);
        },
      }),
    );

    expect(error).toBeInstanceOf(ConnectionLostError);
    expect(error.message).toContain('the vfio-user server closed the connection');
  });

  test('that never answers, when there is a time-out', async () => {
    const timers = new FakeTimers();
    const connecting = errorOf(() => connected({ timers, requestTimeout: 50, answer: () => true }));
    await settle();

    timers.advance(50);
    timers.advance(50);

    expect((await connecting).message).toContain('answered none of 1 requests for 50 ms');
  });
});

test('a server that asks for DMA before it has agreed is refused, and its descriptors are let go', async () => {
  const errnos: number[] = [];
  const [near, far] = createChannelPair();
  const server = new Connection(far, {
    name: 'the client',
    onCommand: (command) => {
      const descriptor = fakeDescriptor(3);
      server.send(Command.DMA_READ, new Uint8Array(16), [descriptor], (reply) => {
        errnos.push(reply?.errno ?? 0);
        command.fail(Errno.EPERM);
      });
      descriptor.release();
    },
  });

  const error = await errorOf(() => VfioUserClient.connect({ open: () => Promise.resolve(near) }));

  expect(errnos).toEqual([Errno.ENODEV]);
  expect(error).toBeInstanceOf(ServerRefusedError);
});

test('descriptors that come with an agreement are let go', async () => {
  await connected({
    answer: (command) => {
      if (command.command !== Command.DEVICE_GET_INFO) return false;
      const descriptor = fakeDescriptor(3);
      command.reply(new Uint8Array(16).fill(16, 0, 1), [descriptor]);
      descriptor.release();
      return true;
    },
  });

  expect(openFakeDescriptors()).toBe(0);
});
