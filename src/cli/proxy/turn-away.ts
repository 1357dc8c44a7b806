import { type Channel, Connection, releaseAll } from '../../vfio-user/index.ts';
import type { LiveWorld } from '../serve/live-world.ts';

/** A peer that asks nothing gets no answer, and is not kept for ever. */
const PATIENCE_MS = 5000;

/** Answers the first command of a VMM, its VERSION, with `errno` and ends the connection: VMMs show that to people. */
export function turnAway(
  channel: Channel,
  errno: number,
  reason: string,
  timers: LiveWorld['platform']['timers'],
): void {
  const connection = new Connection(channel, {
    name: 'VMM',
    onCommand: (command) => {
      releaseAll(command.descriptors);
      command.fail(errno);
      connection.close(reason);
    },
  });
  const timer = timers.after(PATIENCE_MS, () => connection.close(reason));
  void connection.closed.then(() => timer.cancel());
}
