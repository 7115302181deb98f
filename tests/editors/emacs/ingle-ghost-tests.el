;;; ingle-ghost-tests.el --- Ghost text, with a server  -*- lexical-binding: t; -*-

;;; Commentary:

;; The daemon completes everything with "a + b".

;;; Code:

(require 'ingle-test)

(defconst ingle-test-add "def add(a, b):\n    return¦\n")

(defmacro ingle-test-with-ghost (&rest body)
  "Run BODY where \"a + b\" is shown after \"return \"."
  (declare (indent 0))
  `(ingle-test-in "add.py" ingle-test-add
     (ingle-test-type " ")
     (ingle-test-wait (equal (ingle-test-ghost) "a + b"))
     ,@body))

(defmacro ingle-test-with-answers (answers &rest body)
  "Run BODY with a server that gives ANSWERS, one after the other, at once."
  (declare (indent 1))
  `(let ((answers ,answers))
     (cl-letf (((symbol-function 'ingle--obtain) (lambda (function) (funcall function 'server)))
               ((symbol-function 'ingle--connection) (lambda () 'server))
               ((symbol-function 'ingle--sync) (lambda () 'server))
               ((symbol-function 'ingle--utf-32-p) #'always)
               ((symbol-function 'ingle--document) (lambda () '(:uri "file:///a")))
               ((symbol-function 'ingle--request)
                (cl-function (lambda (_connection _method _params &key then always
                                                  &allow-other-keys)
                               (funcall always)
                               (funcall then (pop answers))
                               nil))))
       ,@body)))

(defun ingle-test-line ()
  "The text of point's line."
  (buffer-substring-no-properties (line-beginning-position) (line-end-position)))

(ert-deftest ingle-test-typing-shows-ghost-text ()
  (ingle-test-with-ghost
    (should (equal (ingle-test-text) "def add(a, b):\n    return \n"))
    (should (= (ingle-test-asked) 1))
    (let ((string (overlay-get (ingle--ghost-overlay ingle--ghost) 'after-string)))
      (should (eq (get-text-property 0 'face string) 'ingle-ghost))
      ;; Point is drawn before the text.
      (should (get-text-property 0 'cursor string)))))

(ert-deftest ingle-test-tab-accepts-and-is-itself-again ()
  (ingle-test-with-ghost
    (should (eq (key-binding (kbd "TAB")) 'ingle-accept))
    (ingle-test-keys "TAB")
    (should (equal (ingle-test-line) "    return a + b"))
    (should (eolp))
    (should-not (ingle-test-ghost))
    (should-not (eq (key-binding (kbd "TAB")) 'ingle-accept))
    (undo-boundary)
    (let ((last-command nil)) (undo))
    (should (equal (ingle-test-line) "    return "))))

(ert-deftest ingle-test-tab-is-what-the-user-bound-without-ghost-text ()
  (ingle-test-in "add.py" ingle-test-add
    (let ((pressed 0))
      (local-set-key (kbd "TAB") (lambda () (interactive) (cl-incf pressed)))
      (ingle-test-keys "TAB")
      (should (= pressed 1))
      (ingle-test-type " ")
      (ingle-test-wait (ingle-test-ghost))
      (ingle-test-keys "TAB")
      (should (= pressed 1))
      (should (equal (ingle-test-line) "    return a + b")))))

(ert-deftest ingle-test-accept-a-word-then-the-rest ()
  (ingle-test-with-ghost
    (ingle-test-keys "<backtab>")
    (should (equal (ingle-test-line) "    return a"))
    (should (equal (ingle-test-ghost) " + b"))
    (ingle-test-keys "<backtab>")
    (should (equal (ingle-test-line) "    return a +"))
    (ingle-test-keys "TAB")
    (should (equal (ingle-test-line) "    return a + b"))
    (should-not (ingle-test-ghost))
    (ingle-test-settle)
    (should (<= (ingle-test-asked) 2))))

(ert-deftest ingle-test-the-parts-of-a-suggestion ()
  (should (= (ingle--word-end "  foo_bar(x)") 9))
  (should (= (ingle--word-end "(x)") 1))
  (should (= (ingle--word-end " += 1") 3))
  (should (= (ingle--word-end "   ") 3))
  (should (= (ingle--line-end "one\ntwo") 3))
  (should (= (ingle--line-end "\n  two\nthree") 6))
  (should (= (ingle--line-end "\n") 1)))

(ert-deftest ingle-test-accept-a-line ()
  (ingle-test-in "a.py" "x = ¦"
    (ingle-test-type " ")
    (ingle-test-wait (ingle-test-ghost))
    (ingle--show '(("one\n  two\nthree" . 0)))
    (ingle-test-keys "M-RET")
    (should (equal (ingle-test-text) "x =  one"))
    (should (equal (ingle-test-ghost) "\n  two\nthree"))
    (ingle-test-keys "M-RET")
    (should (equal (ingle-test-text) "x =  one\n  two"))
    (ingle-test-keys "TAB")
    (should (equal (ingle-test-text) "x =  one\n  two\nthree"))))

(ert-deftest ingle-test-what-stands-after-point-can-be-replaced ()
  (ingle-test-in "a.py" "f(¦)\n"
    (ingle--show '(("x, y)" . 1)))
    (ingle-test-keys "TAB")
    (should (equal (ingle-test-text) "f(x, y)\n"))))

(ert-deftest ingle-test-typing-what-is-shown-asks-nothing ()
  (ingle-test-with-ghost
    (let ((asked (ingle-test-asked)))
      (ingle-test-type "a")
      (should (equal (ingle-test-ghost) " + b"))
      (ingle-test-type " +")
      (should (equal (ingle-test-ghost) " b"))
      (ingle-test-keys "DEL")
      (should (equal (ingle-test-ghost) "+ b"))
      (ingle-test-settle)
      (should (= (ingle-test-asked) asked))
      (ingle-test-type "- ")
      (should-not (equal (ingle-test-ghost) " b"))
      (ingle-test-wait (equal (ingle-test-ghost) "a + b"))
      (should (= (ingle-test-asked) (1+ asked))))))

(ert-deftest ingle-test-quit-dismisses-and-quits ()
  (ingle-test-with-ghost
    (should (eq 'quit (condition-case nil (ingle-test-keys "C-g") (quit 'quit))))
    (should-not (ingle-test-ghost))
    (should (equal (ingle-test-line) "    return "))
    (ingle-test-settle)
    (should-not (ingle-test-ghost))
    (should (= (ingle-test-asked) 1))))

(ert-deftest ingle-test-escape-dismisses-and-does-what-it-did ()
  (ingle-test-with-ghost
    (let ((pressed 0))
      (local-set-key [escape] (lambda () (interactive) (cl-incf pressed)))
      (ingle-test-keys "<escape>")
      (should (= pressed 1))
      (should-not (ingle-test-ghost))
      (local-unset-key [escape])))
  (ingle-test-with-ghost
    ;; Without a binding it is the prefix ESC: here ESC b is M-b.
    (ingle-test-keys "<escape> b")
    (should-not (ingle-test-ghost))
    (should (equal (ingle-test-line) "    return "))
    (should (looking-at "return $"))))

(ert-deftest ingle-test-moving-dismisses ()
  (ingle-test-with-ghost
    (ingle-test-keys "C-b")
    (should-not (ingle-test-ghost))
    (ingle-test-settle)
    (should-not (ingle-test-ghost))
    (should (= (ingle-test-asked) 1))))

(ert-deftest ingle-test-going-to-another-buffer-dismisses ()
  (ingle-test-with-ghost
    (let ((buffer (current-buffer)))
      (cl-letf (((symbol-function 'ingle-test-go)
                 (lambda () (interactive) (switch-to-buffer "*scratch*"))))
        (global-set-key [f9] 'ingle-test-go)
        (ingle-test-keys "<f9>"))
      (global-unset-key [f9])
      (should-not ingle--ghost)
      (with-current-buffer buffer
        (should-not (ingle-test-ghost))))))

(ert-deftest ingle-test-an-answer-for-a-changed-buffer-shows-nothing ()
  (ingle-test-in "add.py" ingle-test-add
    (ingle-test-type " ")
    (ingle-test-wait ingle--asked)
    (insert "#")
    (ingle-test-settle)
    (should-not (ingle-test-ghost))))

(ert-deftest ingle-test-an-answer-for-a-closed-buffer-does-nothing ()
  (let (buffer)
    (ingle-test-in "add.py" ingle-test-add
      (ingle-test-type " ")
      (ingle-test-wait (ingle--connection))
      (ingle-test-wait ingle--asked)
      (let ((connection (ingle--connection))
            (document (list :textDocument (list :uri (ingle--uri)))))
        (setq buffer (current-buffer))
        (set-buffer-modified-p nil)
        (kill-buffer buffer)
        (should-not ingle--asked)
        (ingle-test-wait (ingle-test-sent "$/cancelRequest"))
        (ingle-test-wait (member document (ingle-test-sent "textDocument/didClose")))
        (let (done)
          (ingle--request connection :workspace/executeCommand
                          '(:command "ingle.status" :arguments [])
                          :then (lambda (_) (setq done t)))
          (ingle-test-wait done))))
    (should-not ingle--ghost)))

(ert-deftest ingle-test-older-requests-are-cancelled ()
  (ingle-test-in "add.py" ingle-test-add
    (ingle-test-type " ")
    (ingle-test-wait (ingle-test-ghost))
    (let ((before (ingle-test-asked)))
      (dolist (letter '("x" "y" "z"))
        (ingle-test-type letter)
        ;; The timer runs, but no answer is read before the next key.
        (timer-event-handler ingle--ask-timer)
        (should ingle--asked))
      (ingle-test-settle)
      (should (<= (- (ingle-test-asked) before) 3))
      (ingle-test-wait (>= (length (ingle-test-sent "$/cancelRequest")) 1)))))

(ert-deftest ingle-test-nothing-in-a-read-only-buffer ()
  (ingle-test-in "add.py" ingle-test-add
    (setq buffer-read-only t)
    (should (equal (ingle--unwelcome-p) "the buffer is read-only"))
    (should-error (call-interactively 'ingle-complete) :type 'buffer-read-only)
    (setq buffer-read-only nil)
    (ingle-test-type " ")
    (ingle-test-wait ingle--asked)
    (setq buffer-read-only t)
    (ingle-test-settle)
    (should-not (ingle-test-ghost))
    (setq buffer-read-only nil)))

(ert-deftest ingle-test-where-no-suggestions-are-wanted ()
  (ingle-test-in "add.py" "x = ¦"
    (should-not (ingle--unwelcome-p))
    (let ((ingle-disabled-modes '(prog-mode))) (should (ingle--unwelcome-p)))
    (let ((ingle-automatic nil)) (should (ingle--unwelcome-p)))
    (let ((ingle-inhibit-functions (list #'always))) (should (ingle--unwelcome-p)))
    (let ((completion-in-region-mode t)) (should (ingle--unwelcome-p)))
    (let ((ingle-disabled-modes '(c-mode))) (should-not (ingle--unwelcome-p)))))

(ert-deftest ingle-test-comments-strings-and-folders-of-the-users-choice ()
  (ingle-test-in "add.py" "x = 'a¦' # b\ny = \n"
    (unwind-protect
        (progn
          (customize-set-variable 'ingle-in-strings nil)
          (customize-set-variable 'ingle-in-comments nil)
          (ingle-test-type " ")
          (ingle-test-wait (ingle--connection))
          (ingle-test-settle)
          (should-not (ingle-test-ghost))
          (end-of-line)
          (ingle-test-type " ")
          (ingle-test-settle)
          (should-not (ingle-test-ghost))
          (forward-line)
          (end-of-line)
          (ingle-test-type " ")
          (ingle-test-wait (ingle-test-ghost))
          (customize-set-variable 'ingle-disabled-folders (list folder))
          (ingle-test-type "z")
          (ingle-test-settle)
          (should-not (ingle-test-ghost)))
      (customize-set-variable 'ingle-in-strings t)
      (customize-set-variable 'ingle-in-comments t)
      (customize-set-variable 'ingle-disabled-folders nil))))

(ert-deftest ingle-test-an-explicit-request-needs-no-typing ()
  (ingle-test-in "add.py" "def add(a, b):\n    return ¦\n"
    (setq-local ingle-automatic nil)
    (call-interactively 'ingle-complete)
    (ingle-test-wait (equal (ingle-test-ghost) "a + b"))
    (let ((params (car (ingle-test-sent "textDocument/inlineCompletion"))))
      (should (equal (plist-get (plist-get params :context) :triggerKind) 1)))))

(ert-deftest ingle-test-candidates-are-cycled ()
  (ingle-test-in "add.py" "def add(a, b):\n    return ¦\n"
    (ingle--show '(("a + b" . 0) ("a - b" . 0) ("sum" . 0)))
    (setf (ingle--ghost-complete ingle--ghost) t)
    (ingle-test-keys "M-n")
    (should (equal (ingle-test-ghost) "a - b"))
    (should (equal ingle--last-message "suggestion 2 of 3"))
    (ingle-test-keys "M-p M-p")
    (should (equal (ingle-test-ghost) "sum"))
    (ingle-test-keys "M-n")
    (ingle-test-type "a")
    ;; "sum" does not begin with what was typed.
    (ingle-test-keys "M-n M-n")
    (should (equal (ingle-test-ghost) " + b"))
    (ingle-test-keys "M-n TAB")
    (should (equal (ingle-test-line) "    return a - b"))))

(ert-deftest ingle-test-others-are-asked-for-when-they-are-wanted ()
  (ingle-test-in "add.py" "def add(a, b):\n    return ¦\n"
    (ingle-test-with-answers '((:items [(:insertText "a + b")])
                               (:items [(:insertText "+ b") (:insertText "- b")
                                        (:insertText "a")]))
      (call-interactively 'ingle-complete)
      (should (equal (ingle-test-ghost) "a + b"))
      (should-not (eq (key-binding (kbd "M-p")) 'ingle-previous))
      (ingle-test-type "a ")
      (ingle-test-keys "M-n")
      (should (equal (ingle-test-ghost) "- b"))
      (should (equal ingle--last-message "suggestion 2 of 3"))
      (should (eq (key-binding (kbd "M-p")) 'ingle-previous))
      (ingle-test-keys "M-n M-n")
      (should (equal (ingle-test-ghost) "+ b"))
      (ingle-test-keys "DEL")
      ;; What was typed before is no part of these.
      (should-not (ingle-test-ghost)))
    (ingle-test-with-answers '((:items [(:insertText "sum")]) (:items [(:insertText "sum")]))
      (call-interactively 'ingle-complete)
      (ingle-test-keys "M-n")
      (should (equal (ingle-test-ghost) "sum"))
      (should (equal ingle--last-message "there is no other suggestion")))
    (ingle-test-with-answers '(nil)
      (ingle--hide)
      (call-interactively 'ingle-complete)
      (should (equal ingle--last-message "no suggestion here")))))

(ert-deftest ingle-test-the-server-has-several ()
  (ingle-test-with-ghost
    (ingle-test-keys "M-n")
    (ingle-test-wait (not ingle--asked))
    ;; The scripted engine always says the same.
    (should (equal ingle--last-message "there is no other suggestion"))
    (should (equal (ingle-test-ghost) "a + b"))
    (should (equal (plist-get (plist-get (car (last (ingle-test-sent
                                                     "textDocument/inlineCompletion")))
                                         :context)
                              :triggerKind)
                   1))))

(ert-deftest ingle-test-answers-of-all-shapes ()
  (ingle-test-in "add.py" "x = foo(¦)"
    (ingle-test-type " ")
    (ingle-test-wait (ingle--connection))
    (ingle-test-settle)
    (cl-flet ((candidates (answer) (ingle--candidates answer (ingle--connection)))
              (range (start end) `(:start (:line 0 :character ,start)
                                   :end (:line 0 :character ,end))))
      (should-not (candidates nil))
      (should-not (candidates '(:items [])))
      (should (equal (candidates '(:items [(:insertText "a")])) '(("a" . 0))))
      (should (equal (candidates '[(:insertText (:kind "snippet" :value "a"))]) '(("a" . 0))))
      (should (equal (candidates `[(:insertText "foo( a" :range ,(range 4 9))
                                   (:insertText "b)" :range ,(range 9 10))
                                   (:insertText "bar" :range ,(range 4 9))
                                   (:insertText "foo( " :range ,(range 4 9))
                                   (:insertText "z" :range ,(range 0 1))])
                     '(("a" . 0) ("b)" . 1)))))))

(ert-deftest ingle-test-turning-the-mode-off ()
  (ingle-test-with-ghost
    (ingle-mode -1)
    (should-not (ingle-test-ghost))
    (ingle-test-settle)
    (ingle-test-wait (member (list :textDocument (list :uri (ingle--uri)))
                             (ingle-test-sent "textDocument/didClose")))
    (ingle-test-type "x")
    (accept-process-output nil 0.05)
    (should (= (ingle-test-asked) 1))
    (should-not (memq 'ingle--after-command post-command-hook))
    (should-not (memq 'ingle--note-change after-change-functions))))

(ert-deftest ingle-test-another-major-mode-leaves-nothing-behind ()
  (ingle-test-with-ghost
    (text-mode)
    (should-not (ingle-test-ghost))
    (should-not ingle--copy)
    (ingle-mode 1)
    (ingle-test-type " ")
    (ingle-test-wait (ingle-test-ghost))
    (let ((opened (ingle-test-sent "textDocument/didOpen")))
      (should (equal (mapcar (lambda (params)
                               (plist-get (plist-get params :textDocument) :languageId))
                             opened)
                     '("python" "plaintext"))))))

(ert-deftest ingle-test-reverting-keeps-the-server-in-step ()
  (ingle-test-with-ghost
    (with-temp-file buffer-file-name (insert "y = \n"))
    (revert-buffer t t t)
    (goto-char (point-min))
    (end-of-line)
    (ingle-test-type " ")
    (ingle-test-wait (ingle-test-ghost))
    (should (equal (ingle-test-line) "y =  "))))

(ert-deftest ingle-test-the-global-mode ()
  (unwind-protect
      (progn
        (global-ingle-mode 1)
        (ingle-test-in "add.py" ingle-test-add
          (ingle-test-type " ")
          (ingle-test-wait (ingle-test-ghost))
          ;; The mode is another one after this, and on again.
          (revert-buffer t t)
          (should ingle-mode)
          (goto-char (point-max))
          (ingle-test-type "x")
          (ingle-test-wait (ingle-test-ghost)))
        (with-current-buffer "*Messages*"
          (should-not ingle-mode)))
    (global-ingle-mode -1)))

(ert-deftest ingle-test-a-buffer-without-a-file ()
  (with-temp-buffer
    (rename-buffer "scratch & co.py")
    (switch-to-buffer (current-buffer))
    (python-mode)
    (ingle-mode 1)
    (insert "x =")
    (ingle-test-type " ")
    (ingle-test-wait (ingle-test-ghost))
    (ingle--hide)))

(ert-deftest ingle-test-settings-reach-the-server ()
  (ingle-test-restart)
  (ingle-test-with-ghost
    (let ((settings (plist-get (plist-get (car (ingle-test-sent "initialize"))
                                          :initializationOptions)
                               :deadlineMs)))
      (should (equal settings 20000)))
    (unwind-protect
        (progn
          (customize-set-variable 'ingle-multiline 'never)
          (customize-set-variable 'ingle-disabled-languages '("python"))
          (ingle-test-keys "DEL")
          (ingle-test-type " ")
          (ingle-test-settle)
          (should-not (ingle-test-ghost))
          (let ((sent (plist-get (plist-get (car (last (ingle-test-sent
                                                        "workspace/didChangeConfiguration")))
                                            :settings)
                                 :ingle)))
            (should (equal (plist-get sent :multiline) "never"))
            (should (equal (plist-get sent :disabledLanguages) ["python"]))))
      (customize-set-variable 'ingle-multiline nil)
      (customize-set-variable 'ingle-disabled-languages nil))))

(ert-deftest ingle-test-pause-and-resume ()
  (ingle-test-with-ghost
    (ingle-pause nil)
    (ingle-test-wait (string-match-p "no suggestions until C-c _ P" ingle--last-message))
    (ingle-test-keys "DEL")
    (ingle-test-type " ")
    (ingle-test-settle)
    (should-not (ingle-test-ghost))
    (ingle-test-wait (equal (ingle--lighter-text) "ingle:off"))
    (ingle-resume)
    (ingle-test-wait (string-match-p "back" ingle--last-message))
    (ingle-test-keys "DEL")
    (ingle-test-type " ")
    (ingle-test-wait (ingle-test-ghost))))

(ert-deftest ingle-test-the-handshake ()
  (ingle-test-restart)
  (ingle-test-with-ghost
    (let* ((params (car (ingle-test-sent "initialize")))
           (ours (plist-get (plist-get (plist-get params :capabilities) :experimental)
                            :ingle)))
      (should (equal (plist-get params :clientInfo)
                     (list :name "ingle.el" :version ingle--version)))
      (should (equal (plist-get ours :version) 1))
      (should (equal (plist-get ours :startHint) "C-c _ s"))
      (should (ingle--fact (ingle--connection) :utf-32)))))

(ert-deftest ingle-test-two-thousand-random-edits-with-suggestions ()
  (ingle-test-in "storm.py" "def f(x):\n    return x\n"
    (random "a storm")
    (ingle-test-type " ")
    (ingle-test-wait (ingle-test-ghost))
    (let ((model (ingle-test-text)) (accepted 0)
          (ingle-test-patience 60))
      (dotimes (number 2000)
        (let* ((at (1+ (random (1+ (buffer-size)))))
               (to (min (point-max) (+ at (random 6))))
               (text (aref ["x" "return " "é" "\n" "😀" "(a" "    "] (random 7))))
          (pcase (random 10)
            ((or 0 1 2 3 4 5)
             (goto-char at)
             ;; Without Python's electric keys, which do more than they are told.
             (let ((this-command 'self-insert-command))
               (run-hooks 'pre-command-hook)
               (insert text)
               (run-hooks 'post-command-hook))
             (setq model (concat (substring model 0 (1- at)) text (substring model (1- at)))))
            ((or 6 7)
             (let ((this-command 'delete-region))
               (run-hooks 'pre-command-hook)
               (delete-region at to)
               (run-hooks 'post-command-hook))
             (setq model (concat (substring model 0 (1- at)) (substring model (1- to)))))
            (_
             ;; Accept what is shown, or wait for what is asked.
             (accept-process-output nil 0.001)
             (ingle-test-wait (not (or ingle--ask-timer ingle--asked)))
             (let ((ghost (ingle-test-ghost)))
               (when ghost
                 (setq at (point)
                       model (concat (substring model 0 (1- at)) ghost
                                     (substring model (1- at)))
                       accepted (1+ accepted))
                 (ingle-test-keys "TAB")))))
          (when (> (buffer-size) 4000)
            (erase-buffer)
            (setq model "")))
        (when (zerop (mod number 100))
          (should (equal (ingle-test-text) model))))
      (should (equal (ingle-test-text) model))
      (should (> accepted 20))
      (ingle-test-settle)
      (ingle--hide)
      (should-not (overlays-in (point-min) (point-max)))
      ;; The server still has the same text: it completes at the end.
      (goto-char (point-max))
      (call-interactively 'ingle-complete)
      (ingle-test-settle)
      (should (eq ingle--state 'ready))
      ;; pytest compares this with what the server was sent.
      (let ((storm (getenv "INGLE_TEST_STORM")))
        (when storm
          (ingle--sync)
          (ingle-test-settle)
          (let ((ingle-test--earlier 0)
                (coding-system-for-write 'utf-8))
            (with-temp-file storm
              (insert (json-serialize
                       (list :uri (with-current-buffer (find-buffer-visiting file)
                                    (ingle--uri))
                             :text model
                             :messages (length (ingle-test-record))))))))))))

(provide 'ingle-ghost-tests)
;;; ingle-ghost-tests.el ends here
