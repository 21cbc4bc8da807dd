import type { Review } from './facts.js';
import { accountOf, type SamePerson } from './same-person.js';

/** What a reviewer last said, as of some time. */
export interface Stance {
  review: Review;
  stance: 'approved' | 'changes_requested' | 'dismissed' | 'unknown';
}

/**
 * Each reviewer's stance as of a time, in microseconds: their last review that was not a mere comment. Where that one
 * was dismissed by then, they have none, and nothing older is revived (as GitHub's latestOpinionatedReviews). A
 * dismissal after that time changes nothing.
 */
export function stancesAsOf(reviews: readonly Review[], asOf: number, samePerson: SamePerson): Stance[] {
  const stances: Stance[] = [];
  const given = reviews
    .filter((review) => review.state !== 'commented' && review.submittedAt <= asOf)
    .sort((a, b) => b.submittedAt - a.submittedAt || b.id.localeCompare(a.id));
  for (const review of given) {
    if (stances.some((known) => isReviewer(known.review, review, samePerson))) continue;
    stances.push({ review, stance: stanceOf(review, asOf) });
  }
  return stances;
}

function stanceOf(review: Review, asOf: number): Stance['stance'] {
  if (review.dismissedAt !== undefined && review.dismissedAt <= asOf) return 'dismissed';
  return review.state === 'commented' ? 'unknown' : review.state;
}

/** Two accounts of one person are one reviewer. Accounts that can't be told apart are two here: both stances stand. */
function isReviewer(a: Review, b: Review, samePerson: SamePerson): boolean {
  return accountOf(a.reviewer) === accountOf(b.reviewer) || samePerson(a.reviewer, b.reviewer) === 'yes';
}
