import { expect, test } from 'vitest';
import type { ObservedEvent } from '../../../src/memory/index.ts';
import {
  Command,
  Connection,
  dmaMapRequest,
  Errno,
  versionReply,
  versionRequest,
} from '../../../src/vfio-user/index.ts';
import { VfioUserProxy } from '../../../src/vfio-user/proxy/index.ts';
import { createChannelPair, fakeDescriptor, openFakeDescriptors } from '../memory-channel.ts';
import { QEMU_VERSION, rig, Vmm } from './rig.ts';

test('a minor above the proposed one becomes the proposed one', async () => {
  const heard: string[] = [];
  const observer = { observe: ({ message }: ObservedEvent) => heard.push(message) };
  const { vmm, proxy } = rig({ minor: 2, proxy: { observer } });

  expect((await vmm.version()).minor).toBe(0);
  expect(heard).toEqual(['the server answered version 0.2; the VMM is told 0.0, which it proposed']);
  proxy.close();
});

test('a minor that was proposed passes', async () => {
  const { vmm, proxy } = rig({ minor: 1 });

  expect((await vmm.version({ ...QEMU_VERSION, minor: 2 })).minor).toBe(1);
  proxy.close();
});

test('the reply is no longer than the request, which is all the room that QEMU has', async () => {
  const { vmm, proxy } = rig({ maxDmaMaps: 1_000_000 });

  const reply = await vmm.connection.request(Command.VERSION, versionRequest.encode(QEMU_VERSION));

  expect(reply.payload.length).toBeLessThanOrEqual(versionRequest.encode(QEMU_VERSION).length);
  proxy.close();
});

/** A proxy whose server answers VERSION with `answer`, and what the server and the VMM get. */
async function negotiate(
  proposed: Uint8Array,
  answer: Uint8Array,
  limits = {},
): Promise<{
  asked: Uint8Array;
  told: { errno: number; payload: Uint8Array } | undefined;
  proxy: VfioUserProxy;
}> {
  const [vmmEnd, upstream] = createChannelPair();
  const [downstream, serverEnd] = createChannelPair();
  const proxy = new VfioUserProxy({ upstream, downstream, limits });
  let asked = new Uint8Array(0);
  const server = new Connection(serverEnd, {
    name: 'the proxy',
    onCommand: (command) => {
      asked = command.payload.slice();
      const socket = fakeDescriptor(3);
      command.reply(answer, [socket]);
      socket.release();
    },
  });
  const vmm = new Vmm(vmmEnd, () => {});
  const told = await vmm.connection.request(Command.VERSION, proposed).catch(() => undefined);
  expect([server.isOpen || told?.errno !== 0, openFakeDescriptors()]).toEqual([true, 0]);
  return { asked, told, proxy };
}

test('the proposal loses the second socket and what the proxy cannot do, and keeps what it does not know', async () => {
  const proposed = versionRequest.encode({
    major: 0,
    minor: 2,
    capabilities: {
      maxMsgFds: 64,
      maxDataXferSize: 64 << 20,
      pgsizes: 0x1200n,
      twinSocket: { supported: true },
      viommu: { sameFile: true },
      other: { colour: [1, { deep: true }] },
    },
  });

  const { asked, proxy } = await negotiate(proposed, proposed);

  expect(versionRequest.decode(asked)).toEqual({
    ok: true,
    value: {
      major: 0,
      minor: 2,
      capabilities: {
        maxMsgFds: 16,
        maxDataXferSize: 1 << 20,
        pgsizes: 0x1000n,
        other: { colour: [1, { deep: true }] },
      },
    },
  });
  proxy.close();
});

test('the VMM is told the least of what it, the server and the proxy can do', async () => {
  const capabilities = { maxMsgFds: 200, maxDataXferSize: 1 << 19, maxDmaMaps: 1_000_000 };
  const answer = versionReply.encode({
    major: 0,
    minor: 0,
    capabilities: {
      ...capabilities,
      twinSocket: { supported: true, fdIndex: 0 },
      viommu: { sameFile: true },
      other: { colour: 'red' },
    },
  });

  const { told, proxy } = await negotiate(versionRequest.encode(QEMU_VERSION), answer, { maxDmaMaps: 1000 });

  expect(versionReply.decode(told?.payload ?? new Uint8Array(0))).toMatchObject({
    value: {
      capabilities: { maxMsgFds: 16, maxDataXferSize: 1 << 19, maxDmaMaps: 1000, other: { colour: 'red' } },
    },
  });
  proxy.close();
});

test('what neither was told of is no extension for the VMM', async () => {
  const answer = versionReply.encode({ major: 0, minor: 0, capabilities: { viommu: { sameFile: true } } });

  const { told, proxy } = await negotiate(answer, answer);

  expect(versionReply.decode(told?.payload ?? new Uint8Array(0))).toEqual({
    ok: true,
    value: { major: 0, minor: 0, capabilities: {} },
  });
  proxy.close();
});

test('a mapping that names the last file is refused, and the server does not hear of it', async () => {
  const { vmm, proxy, server } = rig();
  await vmm.version();
  await vmm.map({ iova: 1, file: 5 });
  const payload = dmaMapRequest.encode({
    read: true,
    write: true,
    sameFile: true,
    offset: 0n,
    address: 0x2000n,
    size: 0x1000n,
  });

  const { errno } = await vmm.connection.request(Command.DMA_MAP, payload);

  expect(errno).toBe(Errno.EINVAL);
  expect(server.mappings().length).toBe(1);
  proxy.close();
});

test('a proxy that can do less than silence means says so', async () => {
  const silent = versionReply.encode({ major: 0, minor: 0, capabilities: {} });

  const { asked, told, proxy } = await negotiate(silent, silent, { maxDataXferSize: 4096, maxDmaMaps: 10 });

  const expected = { value: { capabilities: { maxDataXferSize: 4096, maxDmaMaps: 10 } } };
  expect(versionRequest.decode(asked)).toMatchObject(expected);
  expect(versionReply.decode(told?.payload ?? new Uint8Array(0))).toMatchObject(expected);
  proxy.close();
});

test('a reply without its NUL gets one', async () => {
  const whole = versionReply.encode({ major: 0, minor: 0, capabilities: { maxMsgFds: 8 } });

  const { told, proxy } = await negotiate(versionRequest.encode(QEMU_VERSION), whole.subarray(0, -1));

  expect(told?.payload).toEqual(whole);
  proxy.close();
});

test('what is no version from the VMM is for the server to refuse', async () => {
  const nonsense = Uint8Array.of(0, 0, 0, 0, 1, 2, 3);

  const { asked, proxy } = await negotiate(nonsense, versionReply.encode(QEMU_VERSION));

  expect(asked).toEqual(nonsense);
  proxy.close();
});

test('what is no version from the server ends the link, and says so', async () => {
  const { told, proxy } = await negotiate(versionRequest.encode(QEMU_VERSION), Uint8Array.of(0, 0));

  expect(told?.errno).toBe(Errno.ENODEV);
  expect((await proxy.closed).message).toContain('it answered what is no version (VERSION: 2 bytes');
});

test('a version that the server refuses is refused', async () => {
  const [vmmEnd, upstream] = createChannelPair();
  const [downstream, serverEnd] = createChannelPair();
  const proxy = new VfioUserProxy({ upstream, downstream });
  const server = new Connection(serverEnd, {
    name: 'the proxy',
    onCommand: (command) => command.fail(Errno.EINVAL),
  });
  const vmm = new Vmm(vmmEnd, () => {});

  const { errno } = await vmm.connection.request(Command.VERSION, versionRequest.encode(QEMU_VERSION));

  expect([errno, server.isOpen]).toEqual([Errno.EINVAL, true]);
  proxy.close();
});

test.each([
  [{ maxMsgFds: 254 }, 'maxMsgFds'],
  [{ maxDmaMaps: 65_536 }, 'maxDmaMaps'],
  [{ maxDataXferSize: 0 }, 'maxDataXferSize'],
  [{ patience: -1 }, 'patience'],
  [{ maxDmaMaps: 1.5 }, 'maxDmaMaps'],
])('the limits %j are refused by name', (limits, name) => {
  const [, upstream] = createChannelPair();
  const [downstream] = createChannelPair();

  expect(() => new VfioUserProxy({ upstream, downstream, limits })).toThrow(name);
});
