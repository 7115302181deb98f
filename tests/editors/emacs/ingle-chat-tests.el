;;; ingle-chat-tests.el --- The chat, with a server  -*- lexical-binding: t; -*-

;;; Commentary:

;; The daemon's answer to everything is a function `add' in a code block.

;;; Code:

(require 'ingle-test)
(require 'ingle-chat)
(require 'ingle-threads)

(defconst ingle-test-wrong "import os\n\n\ndef add(a, b):\n    return¦ a - b\n")
(defconst ingle-test-right "import os\n\n\ndef add(a, b):\n    return a + b\n")

(defmacro ingle-test-in-chat (&rest body)
  "Run BODY in a new chat about a Python file; `source' is its buffer."
  (declare (indent 0))
  `(ingle-test-in "main.py" ingle-test-wrong
     (let ((source (current-buffer)))
       (unwind-protect
           (progn
             (ingle-chat)
             (should (derived-mode-p 'ingle-chat-mode))
             ,@body)
         (dolist (buffer (buffer-list))
           (when (eq (buffer-local-value 'major-mode buffer) 'ingle-chat-mode)
             (kill-buffer buffer)))
         (switch-to-buffer source)))))

(defun ingle-test-ask (question)
  "Ask QUESTION, and wait for the answer."
  (goto-char (point-max))
  (insert question)
  (ingle-test-keys "RET")
  (ingle-test-wait ingle-chat--pending)
  (ingle-test-wait (not ingle-chat--pending)))

(defun ingle-test-shown ()
  "The buffer's text without what is hidden."
  (let ((text ""))
    (dotimes (index (buffer-size))
      (unless (invisible-p (1+ index))
        (setq text (concat text (string (char-after (1+ index)))))))
    text))

(ert-deftest ingle-test-a-question-and-its-answer ()
  (ingle-test-in-chat
    (ingle-test-ask "What is wrong?")
    (let ((text (ingle-test-text)))
      (should (string-match-p "\\`You\nWhat is wrong\\?\n\nAnswer\nHere:" text))
      (should (string-match-p "return a \\+ b\n```\n\\[apply\\] \\[copy\\]\n" text))
      (should (string-suffix-p "\n> " text)))
    (should (= (point) (point-max)))
    (should ingle-chat--thread)
    (should (equal (buffer-name) "*ingle chat: What is wrong?*"))
    (should (equal ingle-chat--model "scripted"))
    (should (string-match-p "scripted" (ingle-chat--header)))
    (goto-char (point-min))
    (search-forward "def add")
    (should (memq 'font-lock-keyword-face
                  (ensure-list (get-text-property (match-beginning 0) 'face))))
    ;; What was said can't be edited, the next question can.
    (goto-char 3)
    (should-error (insert "x") :type 'text-read-only)
    (goto-char (point-max))
    (insert "more")
    (should (string-suffix-p "\n> more" (ingle-test-text)))))

(ert-deftest ingle-test-a-thread-goes-on ()
  (ingle-test-in-chat
    (ingle-test-ask "First?")
    (let ((thread ingle-chat--thread))
      (ingle-test-ask "Second?")
      (should (equal ingle-chat--thread thread))
      (should (= 2 (how-many "^Here:" (point-min))))
      (let ((asked (ingle-test-sent "ingle/chat")))
        (should (equal (mapcar (lambda (params) (plist-get params :thread)) asked)
                       (list nil thread)))))))

(ert-deftest ingle-test-the-answer-is-streamed ()
  (ingle-test-in-chat
    (insert "Slowly?")
    (ingle-test-keys "RET")
    (ingle-test-wait (and ingle-chat--pending
                          (string-match-p "Here:" (ingle-test-text))))
    (should-not (string-match-p "\\[apply\\]" (ingle-test-text)))
    ;; One can go on writing meanwhile.
    (goto-char (point-max))
    (ingle-test-type "and th")
    (ingle-test-wait (not ingle-chat--pending))
    (ingle-test-type "en?")
    (should (string-suffix-p "\n> and then?" (ingle-test-text)))
    (should (string-match-p "answer" (ingle-test-text)))))

(ert-deftest ingle-test-the-region-and-the-file-as-context ()
  (ingle-test-in "main.py" ingle-test-wrong
    (let ((source (current-buffer)) (transient-mark-mode t))
      (goto-char (point-min))
      (forward-line 3)
      (push-mark (point) t t)
      (goto-char (point-max))
      (ingle-chat)
      (should (string-match-p "with main.py:4-5\n> \\'" (ingle-test-text)))
      (ingle-chat-add-buffer source)
      (should (string-match-p "with main.py:4-5\nwith main.py\n> \\'" (ingle-test-text)))
      (ingle-test-ask "What is wrong?")
      (should (string-match-p "^(with main.py:4-5, main.py)$" (ingle-test-text)))
      (should (string-suffix-p "\n\n> " (ingle-test-text)))
      (let ((context (plist-get (car (ingle-test-sent "ingle/chat")) :context)))
        (should (equal (plist-get (aref context 0) :range)
                       '(:start (:line 3 :character 0) :end (:line 5 :character 0))))
        (should-not (plist-get (aref context 1) :range))
        (should (equal (plist-get (aref context 0) :uri)
                       (ingle--file-uri (buffer-file-name source)))))
      (kill-buffer)
      (switch-to-buffer source))))

(ert-deftest ingle-test-what-is-not-saved-goes-along ()
  (ingle-test-in "main.py" ingle-test-wrong
    (let ((source (current-buffer)))
      (insert " # not saved")
      (ingle-chat '(4))
      (ingle-test-ask "What?")
      (let ((sent (append (ingle-test-sent "textDocument/didOpen")
                          (ingle-test-sent "textDocument/didChange"))))
        (should (string-match-p "not saved" (format "%S" sent))))
      (kill-buffer)
      (switch-to-buffer source))))

(ert-deftest ingle-test-apply-a-block ()
  (ingle-test-in-chat
    (ingle-test-ask "What is wrong?")
    (let ((chat (current-buffer)))
      (goto-char (point-max))
      (ingle-chat-apply)
      (with-current-buffer source
        (ingle-test-wait (equal (ingle-test-text) ingle-test-right)))
      (ingle-test-wait (string-match-p "applied to main.py" ingle--last-message))
      (with-current-buffer source
        (let ((last-command nil)) (undo))
        (should (equal (ingle-test-text) (string-replace "¦" "" ingle-test-wrong)))
        (setq buffer-read-only t))
      (with-current-buffer chat
        (goto-char (point-min))
        (search-forward "[apply]")
        (push-button (1- (point)))
        (should (string-match-p "read-only" ingle--last-message)))
      (with-current-buffer source (setq buffer-read-only nil))
      (goto-char (point-min))
      (search-forward "[copy]")
      (push-button (1- (point)))
      (should (string-match-p "return a \\+ b" (current-kill 0))))))

(ert-deftest ingle-test-a-block-that-names-its-file ()
  (ingle-test-in-chat
    (should (eq (ingle-chat--target "") source))
    (should (eq (ingle-chat--target "main.py") source))
    (should (eq (ingle-chat--target "src/nowhere.py") source))
    (let ((other (expand-file-name "other.py" folder)))
      (write-region "x = 1\n" nil other)
      (should (equal (buffer-file-name (ingle-chat--target "./other.py")) other))
      (kill-buffer (find-buffer-visiting other)))))

(ert-deftest ingle-test-stopping-an-answer ()
  (ingle-test-in-chat
    (insert "Slowly?")
    (ingle-test-keys "RET")
    (ingle-test-wait (string-match-p "Here:" (ingle-test-text)))
    (insert "too early")
    (ingle-test-keys "RET")
    (should (string-match-p "an answer is being made" ingle--last-message))
    (ingle-chat-cancel)
    (ingle-test-wait (not ingle-chat--pending))
    (should (string-match-p "Here:\\(.\\|\n\\)*(stopped)\n\n> too early\\'" (ingle-test-text)))
    (should-not (string-match-p "\\[apply\\]" (ingle-test-text)))
    (ingle-chat-cancel)
    (should (equal ingle--last-message "no answer is being made"))))

(ert-deftest ingle-test-the-end-of-the-server-ends-the-answer ()
  (ingle-test-in-chat
    (insert "Slowly?")
    (ingle-test-keys "RET")
    (ingle-test-wait (string-match-p "Here:" (ingle-test-text)))
    (let ((ingle--quick-death 0))
      (delete-process (jsonrpc--process ingle--own))
      (ingle-test-wait (not ingle-chat--pending)))
    (should (string-match-p "^(ingle-lsp ended)$" (ingle-test-text)))
    (should (string-suffix-p "\n> " (ingle-test-text)))
    ;; The next question starts it again.
    (ingle-test-ask "And now?")
    (should (string-match-p "\\[apply\\]" (ingle-test-text)))))

(ert-deftest ingle-test-killing-the-buffer-stops-the-answer ()
  (ingle-test-in-chat
    (insert "Slowly?")
    (ingle-test-keys "RET")
    (ingle-test-wait (string-match-p "Here:" (ingle-test-text)))
    (kill-buffer)
    (ingle-test-wait (ingle-test-sent "$/cancelRequest"))
    (ingle-test-settle)
    (should (zerop (hash-table-count ingle-chat--tokens)))))

(ert-deftest ingle-test-reasoning-is-hidden-unless-asked-for ()
  (ingle-test-in-chat
    (setq ingle-chat--pending (list :token "t" :from (marker-position ingle-chat--end)))
    (puthash "t" (current-buffer) ingle-chat--tokens)
    (dolist (piece '(("analysis" . "Let me ") ("analysis" . "think.") ("final" . "It is `x`.")))
      (ingle-chat--receive nil (list :token "t" :thread "a-thread" :channel (car piece)
                                     :text (cdr piece))))
    (ingle-chat--answered "t" '(:thread "a-thread" :title "A thread" :turn 1
                                :text "It is `x`." :finish "stop" :model "m" :blocks []))
    (should (string-match-p "Let me think.\nIt is `x`.\n" (ingle-test-text)))
    (should-not (string-match-p "think" (ingle-test-shown)))
    (should (string-match-p "It is `x`" (ingle-test-shown)))
    (ingle-chat-toggle-analysis)
    (should (string-match-p "think" (ingle-test-shown)))
    (ingle-chat-toggle-analysis)
    (should-not (string-match-p "think" (ingle-test-shown)))))

(ert-deftest ingle-test-threads-are-listed-opened-and-deleted ()
  (ingle-test-in-chat
    (ingle-test-ask "A thread to keep?")
    (let ((thread ingle-chat--thread)
          (said (ingle-test-text)))
      (kill-buffer)
      (switch-to-buffer source)
      (ingle-threads)
      (ingle-test-wait (get-buffer "*ingle chats*"))
      (switch-to-buffer "*ingle chats*")
      (goto-char (point-min))
      (search-forward "A thread to keep?")
      (should (equal (tabulated-list-get-id) thread))
      (ingle-threads-open)
      (ingle-test-wait (ingle-chat--latest))
      (switch-to-buffer (ingle-chat--latest))
      (should (equal (ingle-test-text) said))
      (should (equal ingle-chat--thread thread))
      ;; It is opened once.
      (let ((chat (current-buffer)))
        (ingle-chat-open thread)
        (should (eq (current-buffer) chat)))
      (ingle-test-ask "And again?")
      (should (= 2 (how-many "^Here:" (point-min))))
      (cl-letf (((symbol-function 'y-or-n-p) #'always))
        (ingle-chat-delete))
      (ingle-test-wait (not (ingle-chat--latest)))
      (ingle-threads)
      (ingle-test-wait (with-current-buffer "*ingle chats*"
                         (not (string-match-p "A thread to keep" (buffer-string)))))
      (kill-buffer "*ingle chats*"))))

(ert-deftest ingle-test-a-chat-gets-no-suggestions ()
  (ingle-test-in-chat
    (should ingle-mode)
    (ingle-test-type "def add(a, b): ")
    (ingle-test-settle)
    (call-interactively 'ingle-complete)
    (should (equal ingle--last-message "no suggestions: this is a chat"))
    (should-not ingle--copy)))

(ert-deftest ingle-test-effort-goes-along ()
  (ingle-test-in-chat
    (ingle-chat-set-effort 'low)
    (ingle-test-ask "Quickly?")
    (should (equal (plist-get (car (ingle-test-sent "ingle/chat")) :effort) "low"))
    (should (string-match-p "effort low" (ingle-chat--header)))))

(ert-deftest ingle-test-no-question-and-an-unknown-thread ()
  (ingle-test-in-chat
    (ingle-test-keys "RET")
    (should (equal ingle--last-message "there is no question"))
    (ingle-chat-open "nowhere")
    (ingle-test-wait (string-match-p "nowhere" ingle--last-message))
    (setq ingle-chat--thread "nowhere")
    (ingle-test-ask "Lost?")
    ;; The question is there again, to be asked elsewhere.
    (should (string-suffix-p "> Lost?" (ingle-test-text)))
    (should (string-match-p "^(.*nowhere" (ingle-test-text)))))

(ert-deftest ingle-test-markdown-faces ()
  (with-temp-buffer
    (insert "# Title\n\nSome `code` and **bold**.\n\n```python\ndef f(): pass\n```\nText\n"
            "```nonsense\nx\n```\n~~~\nnot closed\n")
    (ingle-markdown-fontify (point-min) (point-max))
    (cl-flet ((faces (text)
                (goto-char (point-min))
                (search-forward text)
                (ensure-list (get-text-property (match-beginning 0) 'face))))
      (should (memq 'ingle-heading (faces "# Title")))
      (should (memq 'ingle-code (faces "code")))
      (should (memq 'bold (faces "bold")))
      (should (memq 'font-lock-keyword-face (faces "def")))
      (should (memq 'ingle-code-block (faces "not closed")))
      (should (memq 'ingle-code-block (faces "x\n")))
      (should-not (faces "Text")))
    (should (= 3 (length (ingle-markdown-blocks (point-min) (point-max)))))))

(provide 'ingle-chat-tests)
;;; ingle-chat-tests.el ends here
