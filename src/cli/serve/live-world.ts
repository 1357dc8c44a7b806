/** What the commands that talk to other processes need of the system, so that tests can be it. @module */
import type { Channel, Eventfds, SharedFiles, Timers } from '../../vfio-user/index.ts';
import { type Clock, systemClock } from './clock.ts';
import { type Controls, processControls } from './controls.ts';

/** What the system can do for vfio-user. */
export interface LivePlatform {
  /** Whether descriptors can be passed, so that memory is shared and interrupts are eventfds. */
  readonly mode: 'descriptors' | 'messages';
  readonly files: SharedFiles | undefined;
  readonly eventfds: Eventfds | undefined;
  readonly timers: Timers;
  /** Why there is only message mode. */
  readonly why?: string;
}

/** A socket that is listened on. */
export interface LiveListener {
  /** Takes nobody any more, and removes the socket file. */
  close(): Promise<void>;
}

/** The surroundings of a command that runs until it is told to end. */
export interface LiveWorld {
  readonly platform: LivePlatform;
  readonly listen: (path: string, onChannel: (channel: Channel) => void) => Promise<LiveListener>;
  readonly connect: (path: string) => Promise<Channel>;
  readonly controls: Controls;
  readonly clock: Clock;
}

/** The real one. */
export async function systemWorld(): Promise<LiveWorld> {
  const { connect, linuxPlatform, listen } = await import('../../linux/index.ts');
  return { platform: linuxPlatform(), listen, connect, controls: processControls(), clock: systemClock };
}
