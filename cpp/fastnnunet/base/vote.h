// Which label a position between eight voxels gets.
#pragma once

namespace fastnnunet::base {

// Which label wins where several share the highest score.
enum class Tiebreak { nearest, lowest, highest };

// The label whose weights sum up to the highest score. Corner 4 x + 2 y + z is, along each axis, the lower (0) or the
// upper one (1), and weighs x[0 or 1] * y[0 or 1] * z[0 or 1]. Weights are added in the order of the corners, for the
// last bit decides about ties. `nearest` is the corner that Tiebreak::nearest prefers; where its label is not among the
// best, the lowest of these wins. `score_of` a sum of weights must not be negative.
template <typename T, typename Weight, typename Score>
T vote(const T (&labels)[8], const Weight (&x)[2], const Weight (&y)[2], const Weight (&z)[2], int nearest,
       Tiebreak tiebreak, Score&& score_of) {
  T found[8];
  Weight weight[8];
  int count = 0;
  for (int corner = 0; corner < 8; ++corner) {
    const Weight w = x[corner >> 2] * y[(corner >> 1) & 1] * z[corner & 1];
    int at = 0;
    while (at < count && found[at] != labels[corner]) ++at;
    if (at == count) {
      found[count] = labels[corner];
      weight[count++] = w;
    } else {
      weight[at] += w;
    }
  }
  T winner = found[0];
  Weight best = -1, nearest_score = -1;
  for (int at = 0; at < count; ++at) {
    const Weight score = score_of(weight[at]);
    if (found[at] == labels[nearest]) nearest_score = score;
    const bool wins_tie = score == best && (tiebreak == Tiebreak::highest ? found[at] > winner : found[at] < winner);
    if (score > best || wins_tie) {
      best = score;
      winner = found[at];
    }
  }
  return tiebreak == Tiebreak::nearest && nearest_score == best ? labels[nearest] : winner;
}

}  // namespace fastnnunet::base
