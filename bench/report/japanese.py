"""The Japanese words of tables and plots, by the English words of the code (`captions.say`)."""

from __future__ import annotations

from collections.abc import Mapping

_COUNTED: Mapping[str, str] = {  # behind a number
    "line": "行",
    "writer": "名の筆者",
    "letter": "通の書簡",
    "page": "ページ",
    "block": "個のブロック",
    "hand": "名の筆跡",
    "thread": "スレッド",
    "round": "回の計測",
    "worker": "ワーカー",
    "reference character": "個の参照文字",
}

_BLOCKS: Mapping[str, str] = {  # what statistics resample
    "writers": "筆者",
    "letters": "書簡",
    "texts": "文章",
    "pages": "ページ",
    "blocks": "ブロック",
}

_HEADS: Mapping[str, str] = {
    "Encoder": "エンコーダ",
    "Decoder": "デコーダ",
    "Set": "データセット",
    "Damage": "損傷",
    "CER before %": "訂正前 CER %",
    "CER after %": "訂正後 CER %",
    "Improved": "改善した行",
    "Same": "変わらない行",
    "Worse": "悪化した行",
    "Refused": "却下した回答",
    "Corrector s": "訂正器 s",
    "What correctors changed": "訂正器が変えたもの",
    "Refused: {why}.": "却下: {why}。",
    "Answers that were asked for before count with the time that they took then.": (
        "以前に得た回答は、そのときにかかった時間で数える。"
    ),
    "Micro CER in percent of what the decoder read and of what its corrector made of it, "
    "{interval}; the gain in points with the interval of the difference on the same lines and "
    "its p (two-sided, {blocks} randomised, Holm over the table), starred where p is at most "
    "{alpha} and the interval leaves 0 out; lines that have fewer, as many and more character "
    "errors than before; answers of the corrector that were refused; wall seconds of the "
    "corrector in one pass over the set": (
        "デコーダの出力と訂正器の出力のマイクロ CER (%)、{interval}。同じ行での差(ポイント)と"
        "その区間、p 値(両側、{blocks}単位の無作為化、表全体で Holm の補正)。"
        "p が {alpha} 以下でかつ区間が 0 を含まないものに * を付す。文字誤りが減った行、"
        "変わらない行、増えた行の数。却下した訂正器の回答の数。"
        "データセット 1 回分の訂正器の実時間 (秒)"
    ),
    "Severity": "損傷の強さ",
    "Ink lost %": "失われたインク %",
    "CER %": "CER %",
    "Macro %": "マクロ %",
    "Median %": "中央値 %",
    "WER %": "WER %",
    "Sub. %": "置換 %",
    "Del. %": "脱落 %",
    "Ins. %": "挿入 %",
    "Over half %": "半分超の誤り %",
    "Empty %": "空の出力 %",
    "Truncated": "打ち切り",
    "Looping": "反復",
    "without {what} %": "{what}を除く %",
    "spaces at punctuation": "句読点に接する空白",
    "case": "大文字と小文字の別",
    "punctuation": "句読点",
    "Model": "モデル",
    "Parameters": "パラメータ数",
    "Total Sentences": "行数",
    "Total Tokens": "トークン数",
    "Time": "時間",
    "Speed #Sentences": "速度(行)",
    "Speed #Tokens": "速度(トークン)",
    "Host s": "前処理 s",
    "Encoder s": "エンコーダ s",
    "Decoder s": "デコーダ s",
    "Lines/s": "行/s",
    "p50 ms/line": "p50 ms/行",
    "p95 ms/line": "p95 ms/行",
    "CPU s/line": "CPU s/行",
    "Peak MiB": "最大メモリ MiB",
    "Rounds": "計測回数",
}

_TITLES: Mapping[str, str] = {
    "CER by decoder and set": "デコーダとデータセットごとの文字誤り率(CER)",
    "CER by damage at severity {severity}: {encoder} on {set}": (
        "損傷の種類ごとの文字誤り率(CER)、強さ {severity}: {encoder}、{set}"
    ),
    "CER by severity of {damage}: {encoder} on {set}": (
        "{damage} の強さごとの文字誤り率(CER): {encoder}、{set}"
    ),
    "Kinds of errors": "誤りの種類",
    "CER when something does not count": "一部の違いを数えない文字誤り率(CER)",
    "Speed on {set}, as TrOCR reports it": "{set} での処理速度(TrOCR の論文の形式)",
    "Time by stage": "処理段階ごとの時間",
    "Time by stage on damaged lines": "損傷した行での処理段階ごとの時間",
}

_CONDITIONS: Mapping[str, str] = {
    "in brackets the {level} % interval of a percentile bootstrap over {blocks} "
    "({resamples} resamples, seed {seed}){few}": (
        "角括弧内は{blocks}を単位とするパーセンタイル・ブートストラップの {level} % 信頼区間"
        "(再標本抽出 {resamples} 回、シード {seed}){few}"
    ),
    ", under {enough} of them Student's t on a jackknife": (
        "、単位が {enough} 未満ではジャックナイフによる t 区間"
    ),
    "a severity is a step of its own damage, so the rows rank no damage over another": (
        "強さは損傷の種類ごとの段階であり、行の間で損傷の優劣は比べられない"
    ),
    "Micro CER in percent (edits over reference characters, never clipped), {interval}": (
        "マイクロ CER(編集数/参照文字数、% 表示、上限なし)、{interval}"
    ),
    "ink lost is the mean share of ink removed or covered, {unknown} where a damage takes "
    "none away": (
        "「失われたインク」は取り除かれた、または覆われたインクの平均割合で、"
        "インクを減らさない損傷では {unknown}"
    ),
    "Micro CER, its macro mean and median over lines, WER, and substitutions, deletions and "
    "insertions over reference characters, in percent; then the percentage of lines of which "
    "over half was read wrongly and of lines read as nothing, and the number of lines that "
    "ended at the decoder's token limit (truncated) or that repeat their end (looping)": (
        "マイクロ CER、行ごとの CER のマクロ平均と中央値、WER、参照文字数に対する置換・脱落・挿入"
        "(いずれも %)、続いて半分を超えて誤読した行と空の出力の行の割合(%)、"
        "デコーダのトークン数の上限に達した行(打ち切り)と末尾を繰り返した行(反復)の数"
    ),
    "Micro CER in percent as everywhere, and when something does not count on either side: the "
    "spaces that touch a punctuation mark, upper and lower case, or punctuation and symbols, "
    "{interval}": (
        "通常のマイクロ CER(% 表示)と、参照と出力の双方で次の違いを数えない場合の CER: "
        "句読点に接する空白、大文字と小文字の別、句読点と記号。{interval}"
    ),
    "Columns as in the speed table of TrOCR. Tokens are those of the best hypothesis, the end "
    "token counted and the start token not (CTC: symbols emitted). Time is that of encoder "
    "and decoder with detokenising, without preparing the images, for one pass over the set "
    "at the median of the rounds": (
        "列は TrOCR の論文の速度表に合わせた。トークンは最良仮説のもので、終了トークンを数え、"
        "開始トークンを数えない(CTC では出力記号)。時間はエンコーダとデコーダ"
        "(文字列への変換を含み、画像の前処理を含まない)がデータセットを一巡する時間で、"
        "各回の中央値"
    ),
    "Wall seconds of one pass over the set: host (preparing the images), encoder, decoder "
    "with detokenising; lines/s counts encoder and decoder, with lowest and highest in "
    "brackets; latency is encoder and decoder a line, percentiles over batches; CPU seconds "
    "are those of all threads and worker processes; memory is the highest of the whole process "
    "(on a GPU: of its allocations)": (
        "データセットを一巡する実時間(秒): 前処理(画像の準備)、エンコーダ、"
        "デコーダ(文字列への変換を含む)。行/s はエンコーダとデコーダの合計で、"
        "角括弧内は最小と最大。"
        "遅延は 1 行あたりのエンコーダとデコーダの時間で、バッチにわたる百分位数。"
        "CPU 秒は全スレッドと全ワーカープロセスの合計。"
        "メモリはプロセス全体の最大値(GPU では割り当て量)"
    ),
    "in bold the best of each condition and all that are not significantly worse (two-sided "
    "approximate randomisation by {blocks} against the best, {resamples} choices, Holm over "
    "the table, alpha {alpha}, and an interval of the difference without 0)": (
        "太字は各条件で最良のものと、それより有意に悪くないもの"
        "(最良のものに対する{blocks}単位の両側近似無作為化検定、{resamples} 回、"
        "表全体で Holm の補正、有意水準 {alpha}、かつ差の区間が 0 を含まない場合を有意とする)"
    ),
    "{sentence}. ": "{sentence}。",
    "Read: {sets}": "対象: {sets}",
    "{split} split": "{split} 分割",
    "the first {lines}": "先頭の {lines}",
    "{lines} by {writers}": "{writers}による {lines}",
    "{most} or, for {sets}, {blocks}": "{most}({sets} では{blocks})",
    "{lines} of {hands}": "{hands}による {lines}",
    "{lines} of {hands} in {blocks}": "{hands}、{blocks}の {lines}",
    "{lines} in {blocks}, hands not recorded": "{blocks}の {lines}(筆者の記録なし)",
    "synthetic": "合成",
    "synthetic: {made}": "合成: {made}",
    "rendered with stroke fonts": "ストロークフォントで描画",
    "there are no character boxes in {sets}, so that {damage} takes slots of equal width for "
    "characters": ("{sets} には文字の位置がないため、{damage} は等幅の区画を文字とみなす"),
    "references {references}": "参照文 {references}",
    "Damaged by {suite} with seed {seed}": "損傷: {suite}、シード {seed}",
    "Encoder: {encoders}": "エンコーダ: {encoders}",
    "{name} with untrained weights": "{name}(未学習の重み)",
    "{name} (weights {hash})": "{name}(重み {hash})",
    "not opened": "未読込",
    "order {order}": "次数 {order}",
    "text: {text}": "学習文: {text}",
    "language model {name} ({about})": "言語モデル {name}({about})",
    "weights {weights} (tuned on: {tuned_on})": (
        "重み係数 {weights}(調整に用いたデータ: {tuned_on})"
    ),
    "not recorded": "記録なし",
    "generation settings of its checkpoint not applied: {settings}": (
        "チェックポイントの生成設定のうち適用しないもの: {settings}"
    ),
    "Device: {device} ({machine}), {threads}, {precisions}, batch size {sizes}, lines "
    "sorted by width at equal height into batches, {rounds}": (
        "計算機: {device}({machine})、{threads}、{precisions}、バッチサイズ {sizes}、"
        "行は同じ高さでの幅の順にバッチへ分割、{rounds}"
    ),
    "no finished round": "完了した計測なし",
    "{least} to {most} rounds": "{least}〜{most} 回の計測",
    "Texts compared after the normaliser {normaliser}": "文字列は正規化 {normaliser} の後に比較",
    "commit {commits}": "コミット {commits}",
    "environment {records} of env.json": "env.json の環境 {records}",
    "{first} to {last}": "{first}〜{last}",
    "run {when}": "実行日 {when}",
}

_REMARKS: Mapping[str, str] = {
    "not run": "未実行",
    "failed: {reason}": "失敗: {reason}",
    "no reason given": "理由の記録なし",
    "{lines} of {set} could not be read and is left out": "{set} の {lines}は読み込めず除外した",
    "{lines} of {set} could not be read and are left out": "{set} の {lines}は読み込めず除外した",
    "{dash}: untrained weights have a speed but no CER": (
        "{dash}: 未学習の重みでは速度のみを測り、CER は示さない"
    ),
    "{characters} of {set} lies outside of the decoder's alphabet and counts as an error": (
        "{set} の {characters}はデコーダの文字集合になく、誤りとして数えた"
    ),
    "{characters} of {set} lie outside of the decoder's alphabet and count as errors": (
        "{set} の {characters}はデコーダの文字集合になく、誤りとして数えた"
    ),
    "{count} of its lines read otherwise in a later round; the first counts": (
        "{count} 行は後の回で異なる出力となった。最初の回の出力を採用した"
    ),
    "{count} of the {lines} test lines of {set} have the {kind} of one of its train lines": (
        "{set} のテスト {lines} 行のうち {count} 行は、学習用のいずれかの行と{kind}が一致する"
    ),
    "text": "文",
    "image": "画像",
    "near image": "ほぼ画像",
    "{share} % of the lines of {set} stand in the language model's text": (
        "{set} の行の {share} % は言語モデルの学習文に含まれる"
    ),
    "the references of {set} have no punctuation, so that every mark that is read counts as an "
    "error; see the table without punctuation": (
        "{set} の参照文には句読点がなく、読まれた句読点はすべて誤りに数えられる。"
        "句読点を除いた表を参照"
    ),
    "{unknown}: no reference characters": "{unknown}: 参照文字がない",
    "no interval: its lines are not stored any more": ("区間なし: 行ごとの結果が保存されていない"),
    "{blocks}: too few for an interval or a test": "{blocks}: 区間や検定には少なすぎる",
    "{blocks}: the interval is Student's t on a jackknife": (
        "{blocks}: 区間はジャックナイフによる t 区間"
    ),
    "{set} (synthetic)": "{set}(合成)",
    "{model} (the paper's)": "{model}(論文の値)",
    "published by Li et al. (2021), arXiv:2109.10282, Table 5: IAM test lines, beam 10; their "
    "hardware, batch size and precision are not stated, so that the row is a reference and no "
    "comparison": (
        "Li et al. (2021), arXiv:2109.10282, Table 5 の値: IAM のテスト行、ビーム幅 10。"
        "計算機、バッチサイズ、精度が記されていないため、参考であって比較ではない"
    ),
    "one round; the range is that of its batches, length and all": (
        "計測は 1 回。範囲はバッチ間のもので、行の長さの違いを含む"
    ),
    "signature": "署名",
    "Table {number}": "表 {number}",
    "Run {name}": "実行 {name}",
    "No cell of this run is finished yet.": "この実行にはまだ完了した測定がない。",
    " sentences/s": " 行/s",
    " tokens/s": " トークン/s",
}

_PLOTS: Mapping[str, str] = {
    "Gain": "改善",
    "What correction gains by what there was to correct: {encoder} on {set}": (
        "訂正前の CER と訂正による改善: {encoder}、{set}"
    ),
    "CER before the correction (%; a point a condition)": "訂正前の CER(%、点は条件ごと)",
    "{device} ({machine}), {threads}, {precision}, batch {size}, {software}": (
        "{device}({machine})、{threads}、{precision}、バッチ {size}、{software}"
    ),
    "decoder": "デコーダ",
    "encoder": "エンコーダ",
    "preparing the image": "画像の準備",
    "severity (0: clean)": "損傷の強さ(0: 損傷なし)",
    "CER (%; band: 95 % interval)": "CER(%、帯: 95 % 信頼区間)",
    "CER (%; bar: 95 % interval)": "CER(%、棒: 95 % 信頼区間)",
    "CER against speed: {read}": "CER と速度: {read}",
    "speed of encoder + decoder (lines/s, log scale; bar: range of the rounds)": (
        "エンコーダとデコーダの速度(行/s、対数目盛、棒: 計測回の範囲)"
    ),
    "Pareto front": "パレートフロント",
    "Gain over {baseline} by severity of {damage}: {encoder} on {set}": (
        "{damage} の強さごとの {baseline} に対する改善: {encoder}、{set}"
    ),
    "Gain over {baseline} by damage at severity {severity}: {encoder} on {set}": (
        "損傷の種類ごとの {baseline} に対する改善、強さ {severity}: {encoder}、{set}"
    ),
    "gain (points of CER; band: 95 % interval, paired)": (
        "改善(CER のポイント、帯: 対応のある 95 % 信頼区間)"
    ),
    "gain (points of CER; bar: 95 % interval, paired)": (
        "改善(CER のポイント、棒: 対応のある 95 % 信頼区間)"
    ),
    "Latency of encoder + decoder a line: {read}": "1 行あたりの遅延(エンコーダとデコーダ): {read}",
    "ms a line, of each batch of each round (log scale)": (
        "1 行あたりの ms(各回の各バッチ、対数目盛)"
    ),
    "batches that took at most so long (%)": "その時間以内のバッチの割合(%)",
    "Time a line by stage: {read}": "1 行あたりの時間の内訳: {read}",
    "ms a line (one pass over the set, median of the rounds)": (
        "1 行あたりの ms(一巡の時間、各回の中央値)"
    ),
}

JAPANESE: Mapping[str, str] = {
    **_COUNTED, **_BLOCKS, **_HEADS, **_TITLES, **_CONDITIONS, **_REMARKS, **_PLOTS,
}  # fmt: skip
