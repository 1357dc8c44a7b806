/** Peers and what they can do, in words. @module */
import type { Capabilities } from '../../vfio-user/index.ts';
import { formatBytes, plural } from '../terminal/text.ts';
import type { LivePlatform } from './live-world.ts';

/** What a peer announced, with what the specification says for what it left out. */
export function describeCapabilities(capabilities: Capabilities): string {
  const { maxDmaMaps = 65_535, maxDataXferSize = 2 ** 20, maxMsgFds = 1 } = capabilities;
  return (
    `up to ${plural(maxDmaMaps, 'mapping')}, ${plural(maxMsgFds, 'descriptor')} a message, ` +
    `${formatBytes(BigInt(maxDataXferSize))} a transfer`
  );
}

/** Why not everything works here, or undefined when it does. */
export function describePlatform({ mode, why }: LivePlatform, messages: boolean): string | undefined {
  if (mode === 'messages') {
    return `message mode, without shared memory and interrupts: ${why || 'this system passes no descriptors'}`;
  }
  return messages ? 'message mode, as asked for: guest memory is reached by messages' : undefined;
}
